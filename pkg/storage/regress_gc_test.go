package storage_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// statSpy is a driver that does something after it has looked at a key.
type statSpy struct {
	storage.Driver

	key  string
	then func()
}

func (s *statSpy) Stat(ctx context.Context, key string) (storage.Info, error) {
	info, err := s.Driver.Stat(ctx, key)

	if then := s.then; then != nil && key == s.key {
		s.then = nil
		then()
	}

	return info, err
}

// TestForgetHiddenAgain: a blob that was deleted is pushed and deleted once more while GC looks
// whether it may forget the first deletion. The second one holds.
func TestForgetHiddenAgain(t *testing.T) {
	var ahead atomic.Int64

	spy := &statSpy{Driver: storagetest.NewMemory().Driver(), key: storage.BlobKey("a", digestOf("blob"))}
	w := storagetest.OpenOn(t, spy, storagetest.NewMapCache(), storage.Options{
		Log: zerolog.Nop(),
		Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
		GC:  storage.GC{Delay: time.Hour},
	})

	w.Push("a", "x", "kept")
	w.NoError(w.DeleteBlob("a", w.Blob("a", "blob")), "delete the blob")
	ahead.Add(int64(2 * time.Hour))

	spy.then = func() {
		w.Blob("a", "blob")
		w.NoError(w.DeleteBlob("a", digestOf("blob")), "delete it again")
	}

	done, err := w.Store.Collect(t.Context())
	w.NoError(err, "collect")
	w.Equal(done.Blobs, 1, "freed")
	w.True(spy.then == nil, "it was looked at")
	w.Is(w.Stat("a", digestOf("blob")), storage.ErrBlobUnknown, "HEAD of what was deleted again")
}

// TestLeasesExpire: where nothing is ever collected leases are forgotten, too.
func TestLeasesExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := storagetest.OpenOn(t, storagetest.NewMemory().Driver(), storagetest.NewMapCache(), storage.Options{
			Log: zerolog.Nop(), GC: storage.GC{Delay: time.Minute},
		})

		w.Blob("a", "blob")
		w.Is(w.Stat("a", digestOf("another")), storage.ErrBlobUnknown, "HEAD")

		body, _ := w.ImageBody(digestOf("one"))
		_, err := w.Put(storage.ManifestPut{Repo: "a", Tags: []storage.Tag{"x"}, Body: body})
		w.True(errors.As(err, new(*storage.MissingError)), "push of a manifest whose blobs are not there")

		w.Push("a", "y", "layer")
		w.Equal(w.Store.Leases(), 1, "leases: what is not there has none, nor what the state holds")
		time.Sleep(2 * time.Minute)
		w.Equal(w.Store.Leases(), 0, "leases after gcDelay")
	})
}

// deletingCache does something before it forgets a pair.
type deletingCache struct {
	*storagetest.MapCache

	then func()
}

func (c *deletingCache) DeleteBlob(ctx context.Context, dgst digest.Digest, key string) error {
	if then := c.then; then != nil {
		c.then = nil
		then()
	}

	return c.MapCache.DeleteBlob(ctx, dgst, key)
}

// TestCacheKnowsWhatCameAgain: a blob that is pushed just when GC has removed it is in the cache.
func TestCacheKnowsWhatCameAgain(t *testing.T) {
	var ahead atomic.Int64

	cache := &deletingCache{MapCache: storagetest.NewMapCache()}
	w := storagetest.OpenOn(t, storagetest.NewMemory().Driver(), cache, storage.Options{
		Log: zerolog.Nop(),
		Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
		GC:  storage.GC{Delay: time.Hour},
	})

	w.Push("a", "x", "kept")
	w.Blob("a", "blob")
	ahead.Add(int64(2 * time.Hour))

	cache.then = func() { w.Blob("a", "blob") }

	_, err := w.Store.Collect(t.Context())
	w.NoError(err, "collect")
	w.True(cache.then == nil, "it was forgotten")
	w.Equal(len(w.Store.FindBlob(t.Context(), "b", digestOf("blob"))), 1, "repositories that the cache knows")
}

// TestLeaseWhileDeleting: while the deletion of an image is being written, which may take long,
// the answer about its layer is still "there", and counts from then on.
func TestLeaseWhileDeleting(t *testing.T) {
	var (
		ahead atomic.Int64
		w     *storagetest.World
	)

	slow := &spy{Driver: storagetest.NewMemory().Driver()}
	w = storagetest.OpenOn(t, slow, storagetest.NewMapCache(), storage.Options{
		Log: zerolog.Nop(),
		Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
		GC:  storage.GC{Delay: time.Hour},
	})

	w.Push("a", "x", "kept")
	image := w.Push("a", "y", "layer")
	ahead.Add(int64(2 * time.Hour))

	slow.onAppend = func(string, []storage.Record) {
		slow.onAppend = nil

		ahead.Add(int64(30 * time.Minute))
		w.NoError(w.Stat("a", digestOf("layer")), "HEAD, meanwhile")
	}

	w.NoError(w.Delete("a", string(image.Digest), storage.Precondition{}), "delete the image")
	ahead.Add(int64(45 * time.Minute))

	_, err := w.Store.Collect(t.Context())
	w.NoError(err, "collect")
	w.NoError(tryPut(w, "a", "y", "layer"), "push of what was there 45 minutes ago")
}
