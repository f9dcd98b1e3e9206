package storage

// Guard returns cache as the engine uses it.
func Guard(cache Cache, opts Options) Cache { return newGuardedCache(cache, opts) }
