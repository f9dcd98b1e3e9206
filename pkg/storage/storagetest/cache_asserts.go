package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
)

// cacheUnderTest is a cache with what its tests say again and again. Its methods may
// be called from any goroutine.
type cacheUnderTest struct {
	storage.Cache

	T *testing.T
}

// flusher is a cache that writes behind, and can be asked to write now.
type flusher interface {
	Flush(ctx context.Context) error
}

// flush makes a cache that writes behind write what waits. A cache may behave one
// way before that and another way after it.
func (c cacheUnderTest) flush() {
	c.T.Helper()

	if cache, ok := c.Cache.(flusher); ok {
		if err := cache.Flush(c.T.Context()); err != nil {
			c.T.Errorf("Flush: %v", err)
		}
	}
}

// eachState checks what change leads to before and after it is written.
func (c cacheUnderTest) eachState(change, check func()) {
	c.T.Helper()

	change()
	check()
	c.flush()
	check()
}

// cacheDigest returns the i-th digest.
func cacheDigest(i int) digest.Digest { return digest.FromString(fmt.Sprint("blob ", i)) }

func (c cacheUnderTest) mustPut(dgst digest.Digest, key string) {
	c.T.Helper()

	if err := c.PutBlob(c.T.Context(), dgst, key); err != nil {
		c.T.Errorf("PutBlob(%s, %q): %v", dgst, key, err)
	}
}

func (c cacheUnderTest) mustDelete(dgst digest.Digest, key string) {
	c.T.Helper()

	if err := c.DeleteBlob(c.T.Context(), dgst, key); err != nil {
		c.T.Errorf("DeleteBlob(%s, %q): %v", dgst, key, err)
	}
}

func (c cacheUnderTest) mustClose() {
	c.T.Helper()

	if err := c.Close(); err != nil {
		c.T.Errorf("Close: %v", err)
	}
}

func (c cacheUnderTest) mustGetAll(dgst digest.Digest) []string {
	c.T.Helper()

	keys, err := c.GetAllBlobs(c.T.Context(), dgst, -1)
	if err != nil && !errors.Is(err, storage.ErrCacheMiss) || (err != nil) != (len(keys) == 0) {
		c.T.Errorf("GetAllBlobs(%s): %d keys, %v", dgst, len(keys), err)
	}

	return keys
}

// wantKeys checks that dgst has exactly these keys, in this order.
func (c cacheUnderTest) wantKeys(dgst digest.Digest, want ...string) {
	c.T.Helper()

	if keys := c.mustGetAll(dgst); !slices.Equal(keys, want) {
		c.T.Errorf("GetAllBlobs(%s) = %.500q, want %.500q", dgst, keys, want)
	}

	for limit := 1; limit <= len(want); limit *= 2 {
		if keys, err := c.GetAllBlobs(c.T.Context(), dgst, limit); err != nil || !slices.Equal(keys, want[:limit]) {
			c.T.Errorf("GetAllBlobs(%s) up to %d = %.500q, %v, want %.500q", dgst, limit, keys, err, want[:limit])
		}
	}

	key, err := c.GetBlob(c.T.Context(), dgst)

	switch {
	case len(want) == 0 && !errors.Is(err, storage.ErrCacheMiss):
		c.T.Errorf("GetBlob(%s) = %q, %v, want ErrCacheMiss", dgst, key, err)
	case len(want) > 0 && (err != nil || key != want[0]):
		c.T.Errorf("GetBlob(%s) = %q, %v, want %q", dgst, key, err, want[0])
	}
}

func (c cacheUnderTest) wantHas(dgst digest.Digest, key string, want bool) {
	c.T.Helper()

	if has, err := c.HasBlob(c.T.Context(), dgst, key); err != nil || has != want {
		c.T.Errorf("HasBlob(%s, %q) = %t, %v, want %t", dgst, key, has, err, want)
	}
}
