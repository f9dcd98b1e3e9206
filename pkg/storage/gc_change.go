package storage

import "reflect"

// gc is what is removed, and when, as things are now. It never changes itself: work that needs
// several parts of it asks once.
func (s *Store) gc() *GC { return s.policy.Load() }

// SetGC changes what is removed, and when. Delay stays as it was: clients count on it. What is
// under way in a repository is broken off, or done by the old policies; nothing is removed by
// some of both. A run that has begun by itself ends where there are to be none. It is not called
// concurrently with itself.
func (s *Store) SetGC(gc GC) {
	old := s.gc()
	gc.Delay = old.Delay

	if reflect.DeepEqual(gc, *old) {
		return
	}

	asksPulls := gc.Retention.needsPulls() && !reflect.DeepEqual(gc.Retention.Policies, old.Retention.Policies)

	// Before, so that no run judges without it; and after, for pulls of between, which the old
	// policies do not note.
	if asksPulls {
		s.pulls.startOver()
	}

	s.policy.Store(&gc)

	if asksPulls {
		s.pulls.startOver()
	}

	if stop := s.stopRun.Load(); gc.Interval == 0 && stop != nil {
		(*stop)()
	}
}

// SetGC changes what is removed, and when, in each store: def in the default one, sub by prefix
// in the others.
func (s *Stores) SetGC(def GC, sub map[string]GC) {
	s.standard.SetGC(def)

	for prefix, gc := range sub {
		if store, ok := s.sub[prefix]; ok {
			store.SetGC(gc)
		}
	}
}

// appliedPolicy is the policy of a repository, and what it comes from.
type appliedPolicy struct {
	Policy

	by *GC
}

// policyBy returns what gc says of the repository. It is asked for each pull.
func (r *repository) policyBy(gc *GC) *Policy {
	known := r.policy.Load()
	if known == nil || known.by != gc {
		known = &appliedPolicy{Policy: gc.Retention.policyOf(r.name), by: gc}
		r.policy.Store(known)
	}

	return &known.Policy
}
