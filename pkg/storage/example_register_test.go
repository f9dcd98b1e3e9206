package storage_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
)

// mapCache is a driver in its simplest form: it forgets everything at a restart,
// which any cache may.
type mapCache struct {
	mu   sync.Mutex // guards keys
	keys map[digest.Digest][]string
}

func openMapCache(opts storage.CacheOptions) (storage.Cache, error) {
	if len(opts.Settings) > 0 {
		return nil, errors.New("it has no settings")
	}

	return &mapCache{keys: map[digest.Digest][]string{}}, nil
}

func (c *mapCache) Name() string { return "map" }

func (c *mapCache) GetBlob(ctx context.Context, dgst digest.Digest) (string, error) {
	keys, err := c.GetAllBlobs(ctx, dgst, 1)
	if err != nil {
		return "", err
	}

	return keys[0], nil
}

func (c *mapCache) GetAllBlobs(_ context.Context, dgst digest.Digest, limit int) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()

	switch {
	case c.keys == nil:
		return nil, errClosed
	case len(c.keys[dgst]) == 0:
		return nil, storage.ErrCacheMiss
	}

	keys := c.keys[dgst]
	if limit >= 0 && len(keys) > limit {
		keys = keys[:limit]
	}

	return slices.Clone(keys), nil
}

func (c *mapCache) PutBlob(_ context.Context, dgst digest.Digest, key string) error {
	c.mu.Lock()
	defer c.mu.Unlock()

	if c.keys == nil {
		return errClosed
	}

	if !slices.Contains(c.keys[dgst], key) {
		c.keys[dgst] = append(c.keys[dgst], key)
	}

	return nil
}

func (c *mapCache) HasBlob(_ context.Context, dgst digest.Digest, key string) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()

	if c.keys == nil {
		return false, errClosed
	}

	return slices.Contains(c.keys[dgst], key), nil
}

func (c *mapCache) DeleteBlob(_ context.Context, dgst digest.Digest, key string) error {
	c.mu.Lock()
	defer c.mu.Unlock()

	if c.keys == nil {
		return errClosed
	}

	c.keys[dgst] = slices.DeleteFunc(c.keys[dgst], func(k string) bool { return k == key })

	return nil
}

func (c *mapCache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()

	c.keys = nil

	return nil
}

var errClosed = errors.New("cache is closed")

// A driver of one's own is registered under a name, which cacheDriver in the
// configuration then selects.
func ExampleRegister() {
	storage.Register("map", openMapCache)

	cache, err := storage.Create("map", storage.CacheOptions{Namespace: "the id of the image store"})
	if err != nil {
		fmt.Println(err)

		return
	}

	ctx := context.Background()
	dgst := digest.FromString("a layer")

	_, err = cache.GetBlob(ctx, dgst)
	fmt.Println(errors.Is(err, storage.ErrCacheMiss))

	err = cache.PutBlob(ctx, dgst, "alpine/blobs/sha256/"+dgst.Encoded())
	fmt.Println(err)

	has, err := cache.HasBlob(ctx, dgst, "alpine/blobs/sha256/"+dgst.Encoded())
	fmt.Println(has, err, cache.Close())
	// Output:
	// true
	// <nil>
	// true <nil> <nil>
}
