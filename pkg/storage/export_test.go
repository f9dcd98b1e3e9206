package storage

// Guard returns cache as the engine uses it.
func Guard(cache Cache, opts Options) Cache { return newGuardedCache(cache, opts) }

// Leases returns how many keys are leased.
func (s *Store) Leases() int {
	s.leases.mu.Lock()
	defer s.leases.mu.Unlock()

	return len(s.leases.held)
}
