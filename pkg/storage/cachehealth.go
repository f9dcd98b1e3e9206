package storage

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/rs/zerolog"
)

// cacheHealth logs a cache's failure once, and its recovery once.
type cacheHealth struct {
	name   string
	log    zerolog.Logger
	failed atomic.Bool
	errors atomic.Int64 // calls that failed since the start
}

func newCacheHealth(name string, opts Options) *cacheHealth {
	return &cacheHealth{name: name, log: opts.Log}
}

// note takes the outcome of a call to the cache. A miss is none of its failures.
func (h *cacheHealth) note(err error) {
	if err == nil || errors.Is(err, ErrCacheMiss) {
		if h.failed.CompareAndSwap(true, false) {
			h.log.Info().Str("cache", h.name).Int64("errors", h.errors.Load()).Msg("cache works again")
		}

		return
	}

	if errors.Is(err, context.Canceled) {
		return
	}

	h.errors.Add(1)

	if h.failed.CompareAndSwap(false, true) {
		h.log.Warn().Err(err).Str("cache", h.name).
			Msg("cache does not work; pushes and pulls go on without it")
	}
}
