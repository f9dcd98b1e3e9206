package storage

import (
	"bytes"
	"context"
)

// checkSeal looks whether the cache is the one that the process before has left complete.
// A process that serves has broken the seal, and looks after its cache itself.
func (c *check) checkSeal(ctx context.Context) {
	const limit = 1 << 10

	token, err := readObject(ctx, c.store.driver, cacheSeal, limit)
	if isNotExist(err) || !c.hasCache {
		return // after kill -9: the next start fills it
	}

	if err == nil {
		if has, err := c.store.cache.HasBlob(ctx, cacheMarker, sealedEntry+string(token)); has || err != nil {
			return
		}

		now, err := readObject(ctx, c.store.driver, cacheSeal, limit)
		if isNotExist(err) || err == nil && !bytes.Equal(now, token) {
			return // a process that has just begun to serve has broken it
		}
	}

	f := Finding{
		Severity: Problem, Kind: "cache-lost", Key: "cache",
		Text: "the cache is not the one that was left complete: it was deleted, replaced, or made anew because it was damaged",
	}

	if c.opts.Repair {
		if err := c.store.fillCache(ctx); err != nil {
			f.Remedy = err.Error()
		} else {
			c.store.cacheFull.Store(true) // Close seals it
			f.Mended, f.Remedy = true, "it was filled anew"
		}
	}

	c.report(f)
}
