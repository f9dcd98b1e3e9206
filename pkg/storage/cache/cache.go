// Package cache has the drivers of storage.Cache: one file each. It imports nothing
// of pkg/storage, whose interface the drivers satisfy by their methods alone.
package cache

import "errors"

// ErrMiss is returned when a cache does not know a digest.
var ErrMiss = errors.New("digest not in cache")
