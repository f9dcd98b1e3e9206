package storage

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Stats are figures of a store since it was opened.
type Stats struct {
	Cache   CacheStats
	Journal JournalStats
	GC      GCStats
	Quotas  []QuotaStats
}

// CacheStats are what came of calls of the cache.
type CacheStats struct {
	Driver  string
	Hits    int64 // questions for which it had an answer
	Misses  int64
	Errors  int64 // calls that failed
	Skipped int64 // calls that were not made, as one had failed a moment before
}

// JournalStats are what was written to the logs of repositories.
type JournalStats struct {
	Commits     int64         // changes to a repository
	Batches     int64         // appends; each has one commit or more
	Failed      int64         // appends that failed
	Flushes     int64         // to disk, of whatever was written before; none in a bucket
	FlushFailed int64         // flushes that failed
	FlushTime   time.Duration // of all flushes
	Checkpoints int64
}

// GCStats are what runs of GC have done.
type GCStats struct {
	Runs   int64
	Failed int64         // runs that ended with an error
	Last   time.Time     // when the last one ended; zero = there was none
	Took   time.Duration // of all runs
	Done   Collected     // by all runs
}

// figures are what Stats is made of.
type figures struct {
	hits, misses, skipped   atomic.Int64
	commits, batches, fails atomic.Int64
	checkpoints             atomic.Int64

	mu sync.Mutex // guards gc
	gc GCStats
}

// ran notes a run of GC.
func (f *figures) ran(done Collected, err error, took time.Duration, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()

	f.gc.Runs++
	f.gc.Last = now
	f.gc.Took += took
	f.gc.Done.add(done)

	if err != nil {
		f.gc.Failed++
	}
}

// Stats returns the figures of now. It asks neither disk nor network.
func (s *Store) Stats() Stats {
	s.figures.mu.Lock()
	gc := s.figures.gc
	s.figures.mu.Unlock()

	return Stats{
		Cache: CacheStats{
			Driver: s.cache.Name(),
			Hits:   s.figures.hits.Load(), Misses: s.figures.misses.Load(),
			Errors: s.cache.failures(), Skipped: s.figures.skipped.Load(),
		},
		Journal: JournalStats{
			Commits: s.figures.commits.Load(), Batches: s.figures.batches.Load(), Failed: s.figures.fails.Load(),
			Flushes: s.durability.flushed.Load(), FlushFailed: s.durability.flushFailed.Load(),
			FlushTime: time.Duration(s.durability.flushTime.Load()), Checkpoints: s.figures.checkpoints.Load(),
		},
		GC: gc, Quotas: s.quotas.stats(),
	}
}

// StoreStats are the figures of one of several stores.
type StoreStats struct {
	Prefix string // of the repositories that belong to it; "/" = all others
	Stats
}

// Stats returns the figures of all stores, the default one's first.
func (s *Stores) Stats() []StoreStats {
	all := []StoreStats{{"/", s.standard.Stats()}}
	for _, prefix := range slices.Sorted(maps.Keys(s.sub)) {
		all = append(all, StoreStats{prefix, s.sub[prefix].Stats()})
	}

	return all
}
