package storage

// Guard returns cache as the engine uses it.
func Guard(cache Cache, opts Options) Cache { return newGuardedCache(cache, opts) }

// LimitPullNews sets how many pull times may wait to be written.
func (s *Store) LimitPullNews(n int) { s.pulls.limit = n }

// SetDryRun changes whether retention only says what it would do. No run is under way.
func (s *Store) SetDryRun(dry bool) { s.opts.GC.Retention.DryRun = dry }
