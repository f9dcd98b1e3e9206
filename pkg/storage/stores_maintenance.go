package storage

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
)

// all are the stores, in the order of their prefixes.
func (s *Stores) all() []*Store {
	all := []*Store{s.standard}
	for _, prefix := range slices.Sorted(maps.Keys(s.sub)) {
		all = append(all, s.sub[prefix])
	}

	return all
}

// IDs are those of the roots and buckets of the stores.
func (s *Stores) IDs() []string {
	var ids []string
	for _, store := range s.all() {
		ids = append(ids, store.driver.ID())
	}

	return ids
}

// Collect implements Maintenance. A store that cannot be collected keeps no other from being
// so.
func (s *Stores) Collect(ctx context.Context) (Collected, error) {
	var (
		all    Collected
		failed []error
	)

	for _, store := range s.all() {
		done, err := store.Collect(ctx)
		all.add(done)

		failed = append(failed, err)
	}

	return all, errors.Join(failed...)
}

// TagHistory implements History.
func (s *Stores) TagHistory(ctx context.Context, repo RepoName, tag Tag, before uint64, n int) ([]TagEvent, bool, error) {
	return s.of(repo).TagHistory(ctx, repo, tag, before, n)
}

// UndoTag implements Recovery.
func (s *Stores) UndoTag(ctx context.Context, repo RepoName, tag Tag, who string) (TagEvent, error) {
	return s.of(repo).UndoTag(ctx, repo, tag, who)
}

// Undelete implements Recovery.
func (s *Stores) Undelete(ctx context.Context, repo RepoName, dgst digest.Digest, who string) (Restored, error) {
	return s.of(repo).Undelete(ctx, repo, dgst, who)
}

// DeleteRepo implements Recovery.
func (s *Stores) DeleteRepo(ctx context.Context, repo RepoName, who string) error {
	return s.of(repo).DeleteRepo(ctx, repo, who)
}

// Purge implements Purger, in the store that repo belongs to.
func (s *Stores) Purge(ctx context.Context, repo RepoName, dgst digest.Digest, opts PurgeOptions, who string) (Purged, error) {
	return s.of(repo).Purge(ctx, repo, dgst, opts, who)
}

// Check implements Checker, store by store.
func (s *Stores) Check(ctx context.Context, opts CheckOptions, progress func(CheckProgress)) (CheckReport, error) {
	return s.eachChecked(func(store *Store) (CheckReport, error) { return store.Check(ctx, opts, progress) })
}

// Scrub implements Checker, store by store.
func (s *Stores) Scrub(ctx context.Context, opts ScrubOptions, progress func(CheckProgress)) (CheckReport, error) {
	return s.eachChecked(func(store *Store) (CheckReport, error) { return store.Scrub(ctx, opts, progress) })
}

// eachChecked adds up the reports of all stores. One that cannot be checked keeps no other
// from being so.
func (s *Stores) eachChecked(check func(*Store) (CheckReport, error)) (CheckReport, error) {
	var (
		all    = CheckReport{Findings: []Finding{}}
		failed []error
	)

	for _, store := range s.all() {
		one, err := check(store)
		all.addAll(one)

		failed = append(failed, err)
	}

	return all, errors.Join(failed...)
}
