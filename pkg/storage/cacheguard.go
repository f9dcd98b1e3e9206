package storage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/internal/pause"
)

// How long the engine puts up with a cache that is reached over a network.
const (
	// cacheTimeout bounds one call: more than a slow answer takes, and less than a
	// client notices.
	cacheTimeout = 250 * time.Millisecond
	// cacheRest is how long a cache that failed is left alone, so that no request
	// waits for it; then one call tries it.
	cacheRest = time.Second
	// cacheSettled is how long nothing must fail until a cache is said to work again.
	// One that takes no puts, since it is full, does answer all that we ask.
	cacheSettled = 5 * time.Second
)

// Nobody waits for what is done in the background, which may take longer than a
// request, and try again.
const (
	patientTimeout = 5 * time.Second
	patientTries   = 60
	patientPause   = time.Second
)

// errCacheOff: the cache failed a moment ago.
var errCacheOff = errors.New("the cache failed a moment ago, and is left alone")

// localCache is what a driver may have that keeps everything in this process or on its
// disk: its calls need no bounds, and it is filled one by one.
type localCache interface {
	Local() bool
}

// guardedCache is a Cache with which no request waits long. If it is reached over a
// network, each call has a timeout, and after a failure calls return an error at once
// for a while. Of each trouble there is one line in the log when it begins, and one
// when it is over.
type guardedCache struct {
	inner  Cache
	remote bool
	log    zerolog.Logger
	now    func() time.Time
	counts *figures

	mu      sync.Mutex // guards what follows
	off     time.Time  // it is left alone until then; zero = it works
	trouble bool       // it is in the log that it fails
	failed  time.Time  // when a call failed last
	errors  int64      // calls that failed since the start
}

func newGuardedCache(cache Cache, opts Options, counts *figures) *guardedCache {
	local, ok := cache.(localCache)
	_, none := cache.(NoCache)

	return &guardedCache{
		inner:  cache,
		remote: !none && (!ok || !local.Local()),
		log:    opts.Log.With().Str("cache", cache.Name()).Logger(),
		now:    opts.Now,
		counts: counts,
	}
}

// Name implements Cache.
func (g *guardedCache) Name() string { return g.inner.Name() }

// GetBlob implements Cache.
func (g *guardedCache) GetBlob(ctx context.Context, dgst digest.Digest) (key string, err error) {
	err = g.call(ctx, func(ctx context.Context) error {
		key, err = g.inner.GetBlob(ctx, dgst)

		return err
	})
	g.count(err)

	return key, err
}

// GetAllBlobs implements Cache.
func (g *guardedCache) GetAllBlobs(ctx context.Context, dgst digest.Digest, limit int) (keys []string, err error) {
	err = g.call(ctx, func(ctx context.Context) error {
		keys, err = g.inner.GetAllBlobs(ctx, dgst, limit)

		return err
	})
	g.count(err)

	return keys, err
}

// HasBlob implements Cache.
func (g *guardedCache) HasBlob(ctx context.Context, dgst digest.Digest, key string) (has bool, err error) {
	err = g.call(ctx, func(ctx context.Context) error {
		has, err = g.inner.HasBlob(ctx, dgst, key)

		return err
	})

	return has, err
}

// PutBlob implements Cache.
func (g *guardedCache) PutBlob(ctx context.Context, dgst digest.Digest, key string) error {
	return g.call(ctx, func(ctx context.Context) error { return g.inner.PutBlob(ctx, dgst, key) })
}

// DeleteBlob implements Cache.
func (g *guardedCache) DeleteBlob(ctx context.Context, dgst digest.Digest, key string) error {
	return g.call(ctx, func(ctx context.Context) error { return g.inner.DeleteBlob(ctx, dgst, key) })
}

// Close implements Cache.
func (g *guardedCache) Close() error { return g.inner.Close() }

// Flush has a cache that writes behind write what waits.
func (g *guardedCache) Flush(ctx context.Context) error {
	behind, ok := g.inner.(interface {
		Flush(ctx context.Context) error
	})
	if !ok {
		return nil
	}

	return behind.Flush(ctx)
}

// putPatiently is PutBlob for what is done in the background. A cache that is slow, or
// away for a minute, does not make it fail.
func (g *guardedCache) putPatiently(ctx context.Context, dgst digest.Digest, key string) error {
	if !g.remote {
		return g.PutBlob(ctx, dgst, key)
	}

	for try := 1; ; try++ {
		limited, cancel := context.WithTimeout(ctx, patientTimeout)
		err := g.inner.PutBlob(limited, dgst, key)

		cancel()

		if err == nil || errors.Is(err, ErrCachePair) {
			return nil // which says nothing of how long requests would wait
		}

		if ctx.Err() != nil {
			return ctx.Err()
		}

		g.noteFailure(err)

		if try == patientTries {
			return fmt.Errorf("after %d tries: %w", try, err)
		}

		_ = pause.For(ctx, patientPause) // the next try tells
	}
}

// call does one thing within the timeout, unless the cache is left alone.
func (g *guardedCache) call(ctx context.Context, do func(context.Context) error) error {
	limited := ctx

	if g.remote {
		if !g.enter() {
			g.counts.skipped.Add(1)

			return errCacheOff
		}

		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, cacheTimeout)

		defer cancel()
	}

	err := do(limited)

	switch {
	case err == nil, errors.Is(err, ErrCacheMiss), errors.Is(err, ErrCachePair):
		g.noteSuccess()
	case ctx.Err() != nil: // the caller has gone, which says nothing of the cache
	default:
		g.noteFailure(err)
	}

	return err
}

// enter says whether the cache may be asked. While it is left alone, that is one call
// each time cacheRest is over.
func (g *guardedCache) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()

	if g.off.IsZero() {
		return true
	}

	now := g.now()
	if now.Before(g.off) {
		return false
	}

	g.off = now.Add(cacheRest) // for all but this one, until it has an answer

	return true
}

func (g *guardedCache) noteSuccess() {
	g.mu.Lock()
	g.off = time.Time{}

	over := g.trouble && g.now().Sub(g.failed) >= cacheSettled
	g.trouble = g.trouble && !over
	failures := g.errors
	g.mu.Unlock()

	if over {
		g.log.Info().Int64("errors", failures).Msg("cache works again")
	}
}

// count counts what came of a question.
func (g *guardedCache) count(err error) {
	switch {
	case err == nil:
		g.counts.hits.Add(1)
	case errors.Is(err, ErrCacheMiss):
		g.counts.misses.Add(1)
	}
}

// failures is how many calls have failed.
func (g *guardedCache) failures() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()

	return g.errors
}

func (g *guardedCache) noteFailure(err error) {
	g.mu.Lock()
	first := !g.trouble
	g.trouble = true
	g.errors++
	g.failed = g.now()
	g.off = g.failed.Add(cacheRest)
	g.mu.Unlock()

	if first {
		g.log.Warn().Err(err).Msg("cache does not work; pushes and pulls go on without it")
	}
}
