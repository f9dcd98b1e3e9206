// Package cache has the drivers of storage.Cache: one file each. It imports nothing
// of pkg/storage, whose interface the drivers satisfy by their methods alone.
package cache

import "errors"

// ErrPair is returned by a cache that cannot keep a pair, whatever is tried: it is too
// long.
var ErrPair = errors.New("not a pair that this cache can keep")

// ErrMiss is returned when a cache does not know a digest.
var ErrMiss = errors.New("digest not in cache")
