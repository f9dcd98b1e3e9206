package storage

import "context"

// retain removes what the policies of retention do not keep.
func (s *Store) retain(context.Context, *repository, *Collected) error { return nil }
