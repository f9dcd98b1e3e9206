package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// names are the repositories to copy. unlisted is what kept others from being found.
//
// Errors: ErrRepoUnknown.
func (t *transfer) names(ctx context.Context) (names []RepoName, unlisted, err error) {
	all, unlisted, err := t.from.allRepos(ctx)
	if err != nil || len(t.opts.Repos) == 0 {
		return all, unlisted, err
	}

	for _, name := range t.opts.Repos {
		if !slices.Contains(all, name) {
			return nil, nil, errors.Join(fmt.Errorf("%w: %s", ErrRepoUnknown, name), unlisted)
		}
	}

	return t.opts.Repos, nil, nil
}

// allRepos lists the repositories, each in the store that it belongs to, by name.
func (s *Stores) allRepos(ctx context.Context) (all []RepoName, unlisted, err error) {
	for _, store := range s.all() {
		names, missed, err := store.allRepos(ctx)
		if err != nil {
			return nil, nil, err
		}

		unlisted = errors.Join(unlisted, missed)

		for _, name := range names {
			if s.of(name) == store {
				all = append(all, name)
			}
		}
	}

	slices.Sort(all)

	return all, unlisted, nil
}

// allRepos lists the repositories of the catalog, and in a directory those that a walk finds,
// too: a program that has copied it may have left out the list, which is names of empty files.
func (s *Store) allRepos(ctx context.Context) (all []RepoName, unlisted, err error) {
	all, _, err = s.ListRepos(ctx, "", -1)
	if err != nil || s.remote {
		return all, nil, err
	}

	for log, err := range s.driver.ListLogs(ctx) {
		if err != nil {
			unlisted = errors.Join(unlisted, fmt.Errorf("look for repositories: %w", err))

			continue
		}

		if name, err := ParseRepoName(strings.TrimSuffix(log.Prefix, "/")); err == nil {
			all = append(all, name)
		}
	}

	slices.Sort(all)

	return slices.Compact(all), unlisted, ctx.Err()
}

// isLost returns an error if nothing is there of a repository that was listed. One to which the
// first image is just being pushed looks the same: then the target has nothing of it.
func (c *repoCopy) isLost(ctx context.Context) error {
	if c.from.remote {
		if err := c.from.catalog.refresh(ctx, c.from.opts.Now()); err != nil {
			return err
		}
	}

	had := c.dst.visible.Load()

	switch {
	case c.src.visible.Load().exists(): // meanwhile
		return nil
	case c.opts.AtRest:
	case !c.from.catalog.has(c.src.name): // GC has just removed it
		return nil
	case had.manifests.Len() == 0:
		return nil
	}

	return fmt.Errorf("%w: its log is lost, and nothing tells what it had", ErrDamaged)
}
