package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/btree"
)

// catalog is the list of repositories: one empty object each, made before a
// repository's first commit. It is a projection: rebuildCatalog puts it right.
type catalog struct {
	driver Driver
	now    func() time.Time

	reading sync.Mutex // one reading at a time; guards asOf
	asOf    time.Time  // when the list was read last, if others add to it

	mu    sync.RWMutex
	names *btree.Map[RepoName, struct{}]
	added map[RepoName]bool // by this process since; its first commit may be under way
}

// openCatalog reads the list. One of a remote driver is read when it is asked for.
func openCatalog(ctx context.Context, driver Driver, now func() time.Time) (*catalog, error) {
	c := &catalog{driver: driver, now: now, names: new(btree.Map[RepoName, struct{}]), added: map[RepoName]bool{}}
	if driver.Remote() {
		return c, nil
	}

	return c, c.read(ctx)
}

// refresh reads the list again if it is older than since: others add to it, too.
// Requests that come together share the reading.
func (c *catalog) refresh(ctx context.Context, since time.Time) error {
	c.reading.Lock()
	defer c.reading.Unlock()

	if !c.asOf.Before(since) {
		return nil
	}

	c.mu.Lock()
	begun := c.now()
	clear(c.added) // the list has them
	c.mu.Unlock()

	if err := c.read(ctx); err != nil {
		return err
	}

	c.asOf = begun

	return nil
}

func (c *catalog) read(ctx context.Context) error {
	var names btree.Map[RepoName, struct{}]

	for info, err := range c.driver.List(ctx, reposPrefix, "") {
		if err != nil {
			return fmt.Errorf("list repositories: %w", err)
		}

		if name, err := splitCatalogKey(info.Key); err == nil {
			names.Set(name, struct{}{})
		}
	}

	c.mu.Lock()
	defer c.mu.Unlock()

	for name := range c.added { // while we read
		names.Set(name, struct{}{})
	}

	c.names = &names

	return nil
}

func (c *catalog) has(name RepoName) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()

	_, ok := c.names.Get(name)

	return ok
}

// add puts a repository into the list.
func (c *catalog) add(ctx context.Context, name RepoName) error {
	if c.has(name) {
		return nil
	}

	return c.put(ctx, name)
}

// put does so even if it is there as far as is known: another process may just remove it.
func (c *catalog) put(ctx context.Context, name RepoName) error {
	if _, err := c.driver.Put(ctx, catalogKey(name), nil); err != nil {
		return fmt.Errorf("add %s to the catalog: %w", name, err)
	}

	c.mu.Lock()
	defer c.mu.Unlock()

	c.names.Set(name, struct{}{})
	c.added[name] = true

	return nil
}

func (c *catalog) remove(ctx context.Context, name RepoName) error {
	c.mu.Lock()
	c.names.Delete(name)
	c.mu.Unlock()

	if err := c.driver.Delete(ctx, catalogKey(name)); err != nil {
		return fmt.Errorf("remove %s from the catalog: %w", name, err)
	}

	return nil
}

func (c *catalog) list(after RepoName, n int) ([]RepoName, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()

	return page(c.names, after, n)
}

// inherited returns what an earlier process has listed.
func (c *catalog) inherited() []RepoName {
	c.mu.RLock()
	defer c.mu.RUnlock()

	names, _ := page(c.names, "", -1)

	return slices.DeleteFunc(names, func(name RepoName) bool { return c.added[name] })
}

// rebuildCatalog lists the repositories that are there, and removes those that are
// listed and not there. What the checkpoint of one lacks, because zot was killed, is
// written there soon.
func (s *Store) rebuildCatalog(ctx context.Context) error {
	listed := s.catalog.inherited()
	there := map[RepoName]bool{}

	var failed []error

	for log, err := range s.driver.ListLogs(ctx) {
		if err != nil {
			failed = append(failed, fmt.Errorf("look for repositories: %w", err))

			continue
		}

		name, err := ParseRepoName(strings.TrimSuffix(log.Prefix, "/"))
		if err != nil {
			s.opts.Log.Warn().Err(err).Str("directory", log.Prefix).Msg("not served")

			continue
		}

		there[name] = true

		if log.Behind {
			s.repos.noteChange(name)
		}

		if err := s.catalog.add(ctx, name); err != nil {
			return err
		}
	}

	if len(failed) > 0 { // some may be where the walk could not look
		return errors.Join(failed...)
	}

	if s.opts.KeepNames {
		return nil
	}

	for _, name := range listed {
		if !there[name] {
			if err := s.prune(ctx, name); err != nil {
				return err
			}
		}
	}

	return nil
}

// prune removes a name from the list that the walk has not met, unless it is a
// repository all the same: made meanwhile, or behind a symbolic link.
func (s *Store) prune(ctx context.Context, name RepoName) error {
	exists := false

	err := s.repos.with(ctx, name, s.repos.now(), func(r *repository) error {
		exists = r.visible.Load().exists()

		return nil
	})
	if err != nil || exists {
		return err
	}

	s.opts.Log.Warn().Str("repository", string(name)).
		Msg("it was in the catalog, and nothing tells what it had: its first push was broken off, or its log is lost")

	return s.catalog.remove(ctx, name)
}

// ListRepos implements Catalog.
func (s *Store) ListRepos(ctx context.Context, after RepoName, n int) ([]RepoName, bool, error) {
	if s.remote {
		if err := s.catalog.refresh(ctx, s.repos.recent()); err != nil {
			return nil, false, err
		}
	}

	repos, more := s.catalog.list(after, n)

	return repos, more, nil
}
