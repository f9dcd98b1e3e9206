package storage

import (
	"context"
	"time"

	"github.com/opencontainers/go-digest"
)

// Guard returns cache as the engine uses it.
func Guard(cache Cache, opts Options) Cache { return newGuardedCache(cache, opts, new(figures)) }

// Leases returns how many keys are leased.
func (s *Store) Leases() int {
	s.leases.mu.Lock()
	defer s.leases.mu.Unlock()

	return len(s.leases.held)
}

// LimitPullNews sets how many pull times may wait to be written.
func (s *Store) LimitPullNews(n int) { s.pulls.limit = n }

// SetDryRun changes whether retention only says what it would do. No run is under way.
func (s *Store) SetDryRun(dry bool) {
	gc := *s.gc()
	gc.Retention.DryRun = dry
	s.SetGC(gc)
}

// Mark marks a place that all repositories share, Unmark ends that, ReadMarks lists what all
// replicas have marked, and IsMarked says what this one knows.
func (s *Store) Mark(ctx context.Context, dgst digest.Digest, place string) error {
	return s.durability.mark(ctx, dgst, spot{place: place})
}

func (s *Store) Unmark(ctx context.Context, dgst digest.Digest, place string) error {
	return s.durability.unmark(ctx, dgst, spot{place: place})
}

func (s *Store) ReadMarks(ctx context.Context) error { return s.durability.readMarks(ctx) }

func (s *Store) IsMarked(dgst digest.Digest, place string) bool {
	return s.durability.marks.has(dgst, spot{place: place})
}

// DelayOf is the GC delay that is in force.
func DelayOf(s *Store) time.Duration { return s.gc().Delay }

// CollectWhileOn is a run of GC that begins by itself.
func (s *Store) CollectWhileOn(ctx context.Context) error { return s.collectWhileOn(ctx) }

// Covers says whether a repository counts for a quota.
func Covers(quota Quota, repo RepoName) bool { return quota.covers(repo) }

// CountQuota counts what commits to a repository would be counted with.
func CountQuota(ctx context.Context, s *Store, repo RepoName) error { return s.quotas.ready(ctx, repo) }
