package storage

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/rs/zerolog"
	"github.com/tidwall/btree"
)

// catalog is the list of repositories: one empty object each, made before a
// repository's first commit. It is a projection: rebuild puts it right.
type catalog struct {
	driver Driver
	log    zerolog.Logger

	mu    sync.RWMutex
	names btree.Map[RepoName, struct{}]
}

// openCatalog reads the list.
func openCatalog(ctx context.Context, driver Driver, log zerolog.Logger) (*catalog, error) {
	c := &catalog{driver: driver, log: log}

	for info, err := range driver.List(ctx, reposPrefix, "") {
		if err != nil {
			return nil, fmt.Errorf("list repositories: %w", err)
		}

		if name, err := splitCatalogKey(info.Key); err == nil {
			c.names.Set(name, struct{}{})
		}
	}

	return c, nil
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

	if err := c.driver.Put(ctx, catalogKey(name), nil); err != nil {
		return fmt.Errorf("add %s to the catalog: %w", name, err)
	}

	c.mu.Lock()
	defer c.mu.Unlock()

	c.names.Set(name, struct{}{})

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

	return page(&c.names, after, n)
}

// rebuild adds the repositories that are there and not listed, and removes those
// that are listed and not there.
func (c *catalog) rebuild(ctx context.Context) error {
	listed, _ := c.list("", -1)
	there := map[RepoName]bool{}

	for prefix, err := range c.driver.ListLogs(ctx) {
		if err != nil {
			return fmt.Errorf("look for repositories: %w", err)
		}

		name, err := ParseRepoName(strings.TrimSuffix(prefix, "/"))
		if err != nil {
			c.log.Warn().Err(err).Str("directory", prefix).Msg("not served")

			continue
		}

		there[name] = true

		if err := c.add(ctx, name); err != nil {
			return err
		}
	}

	return c.prune(ctx, listed, there)
}

// prune removes names that were listed before the walk, and that it has not met.
func (c *catalog) prune(ctx context.Context, listed []RepoName, there map[RepoName]bool) error {
	for _, name := range listed {
		if there[name] {
			continue
		}

		if err := c.remove(ctx, name); err != nil {
			return err
		}
	}

	return nil
}

// ListRepos implements Catalog.
func (s *Store) ListRepos(_ context.Context, after RepoName, n int) ([]RepoName, bool, error) {
	repos, more := s.catalog.list(after, n)

	return repos, more, nil
}
