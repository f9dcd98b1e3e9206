package storage

import (
	"context"
	"errors"
	"maps"
	"slices"
)

// all are the stores, in the order of their prefixes.
func (s *Stores) all() []*Store {
	all := []*Store{s.standard}
	for _, prefix := range slices.Sorted(maps.Keys(s.sub)) {
		all = append(all, s.sub[prefix])
	}

	return all
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
