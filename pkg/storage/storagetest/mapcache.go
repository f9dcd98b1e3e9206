package storagetest

import (
	"context"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
)

// MapCache is a cache in a map, for tests of what uses one.
type MapCache struct {
	mu   sync.Mutex
	keys map[digest.Digest][]string
}

// NewMapCache returns an empty cache.
func NewMapCache() *MapCache { return &MapCache{keys: map[digest.Digest][]string{}} }

// Forget loses all that it knows, as a cache may at any time.
func (c *MapCache) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()

	clear(c.keys)
}

// Copy returns what a copy of its file would be.
func (c *MapCache) Copy() *MapCache {
	c.mu.Lock()
	defer c.mu.Unlock()

	again := NewMapCache()
	for dgst, keys := range c.keys {
		again.keys[dgst] = slices.Clone(keys)
	}

	return again
}

// Restore makes it what it was when old was copied. Nobody uses old any more.
func (c *MapCache) Restore(old *MapCache) {
	c.mu.Lock()
	defer c.mu.Unlock()

	c.keys = old.keys
}

// Name implements storage.Cache.
func (c *MapCache) Name() string { return "map" }

// Local says that no call waits for a network.
func (c *MapCache) Local() bool { return true }

// GetBlob implements storage.Cache.
func (c *MapCache) GetBlob(ctx context.Context, dgst digest.Digest) (string, error) {
	keys, err := c.GetAllBlobs(ctx, dgst, 1)
	if err != nil {
		return "", err
	}

	return keys[0], nil
}

// GetAllBlobs implements storage.Cache.
func (c *MapCache) GetAllBlobs(_ context.Context, dgst digest.Digest, limit int) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()

	if len(c.keys[dgst]) == 0 {
		return nil, storage.ErrCacheMiss
	}

	keys := c.keys[dgst]
	if limit >= 0 && len(keys) > limit {
		keys = keys[:limit]
	}

	return slices.Clone(keys), nil
}

// PutBlob implements storage.Cache.
func (c *MapCache) PutBlob(_ context.Context, dgst digest.Digest, key string) error {
	c.mu.Lock()
	defer c.mu.Unlock()

	if !slices.Contains(c.keys[dgst], key) {
		c.keys[dgst] = append(c.keys[dgst], key)
	}

	return nil
}

// HasBlob implements storage.Cache.
func (c *MapCache) HasBlob(_ context.Context, dgst digest.Digest, key string) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()

	return slices.Contains(c.keys[dgst], key), nil
}

// DeleteBlob implements storage.Cache.
func (c *MapCache) DeleteBlob(_ context.Context, dgst digest.Digest, key string) error {
	c.mu.Lock()
	defer c.mu.Unlock()

	c.keys[dgst] = slices.DeleteFunc(c.keys[dgst], func(k string) bool { return k == key })

	return nil
}

// Close implements storage.Cache.
func (c *MapCache) Close() error { return nil }
