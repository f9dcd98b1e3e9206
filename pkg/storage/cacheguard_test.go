package storage_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

var errBroken = errors.New("broken")

// farCache is a cache that is reached over a network, whose way there a test decides.
type farCache struct {
	storage.Cache // hides what else the cache in the map has

	mu    sync.Mutex
	way   func(ctx context.Context) error // nil = nothing is in the way
	calls int
	busy  atomic.Int64 // calls under way
	most  int64        // the most of them
}

func newFarCache() *farCache { return &farCache{Cache: storagetest.NewMapCache()} }

func (f *farCache) set(way func(ctx context.Context) error) {
	f.mu.Lock()
	defer f.mu.Unlock()

	f.way = way
}

func (f *farCache) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()

	return f.calls
}

func (f *farCache) travel(ctx context.Context) error {
	busy := f.busy.Add(1)
	defer f.busy.Add(-1)

	f.mu.Lock()
	f.calls++
	f.most = max(f.most, busy)
	way := f.way
	f.mu.Unlock()

	if way == nil {
		return nil
	}

	return way(ctx)
}

func (f *farCache) GetBlob(ctx context.Context, dgst digest.Digest) (string, error) {
	if err := f.travel(ctx); err != nil {
		return "", err
	}

	return f.Cache.GetBlob(ctx, dgst)
}

func (f *farCache) HasBlob(ctx context.Context, dgst digest.Digest, key string) (bool, error) {
	if err := f.travel(ctx); err != nil {
		return false, err
	}

	return f.Cache.HasBlob(ctx, dgst, key)
}

func (f *farCache) PutBlob(ctx context.Context, dgst digest.Digest, key string) error {
	if err := f.travel(ctx); err != nil {
		return err
	}

	return f.Cache.PutBlob(ctx, dgst, key)
}

func hang(ctx context.Context) error {
	<-ctx.Done()

	return ctx.Err()
}

func fail(context.Context) error { return errBroken }

// slow is a way that takes d.
func slow(d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// took returns how long a call takes by the clock of the bubble, and what it returns.
func took(call func() error) (time.Duration, error) {
	begin := time.Now()
	err := call()

	return time.Since(begin), err
}

func guarded(cache storage.Cache, log *strings.Builder) storage.Cache {
	opts := storage.Options{Log: zerolog.Nop(), Now: time.Now}
	if log != nil {
		opts.Log = zerolog.New(log)
	}

	return storage.Guard(cache, opts)
}

func TestGuardedCache(t *testing.T) {
	storagetest.TestCache(t, func(t *testing.T) storage.Cache {
		t.Helper()

		opened, err := openMapCache(storage.CacheOptions{})
		if err != nil {
			t.Fatal(err)
		}

		return guarded(opened, nil)
	})
}

// TestGuardBoundsCalls: a call that gets no answer ends after a quarter of a second;
// the next ones end at once, until one tries a second later.
func TestGuardBoundsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := newFarCache()
		cache := guarded(far, nil)
		get := func() error { _, err := cache.GetBlob(t.Context(), digestOf("a")); return err }

		far.set(hang)

		if d, err := took(get); d != 250*time.Millisecond || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without an answer: %v after %s", err, d)
		}

		for range 100 {
			if d, err := took(get); d != 0 || err == nil || errors.Is(err, storage.ErrCacheMiss) {
				t.Errorf("right after: %v after %s", err, d)
			}
		}

		time.Sleep(time.Second)

		var waited atomic.Int64

		var group sync.WaitGroup
		for range 100 {
			group.Go(func() {
				if d, _ := took(get); d > 0 {
					waited.Add(1)
				}
			})
		}

		group.Wait()

		if waited.Load() != 1 || far.count() != 2 {
			t.Errorf("%d calls waited, %d were made; want 1 and 2", waited.Load(), far.count())
		}

		far.set(nil)
		time.Sleep(time.Second)

		if err := get(); !errors.Is(err, storage.ErrCacheMiss) {
			t.Errorf("when it answers again: %v", err)
		}

		if err := cache.PutBlob(t.Context(), digestOf("a"), "k"); err != nil || get() != nil {
			t.Errorf("it is not used again: %v", err)
		}
	})
}

// TestGuardLeavesCallersAlone: a caller that goes away says nothing of the cache, nor
// does a miss.
func TestGuardLeavesCallersAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder

		far := newFarCache()
		cache := guarded(far, &log)
		far.set(hang)

		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()

		if d, err := took(func() error { return cache.PutBlob(ctx, digestOf("a"), "k") }); err == nil || d != 100*time.Millisecond {
			t.Errorf("%v after %s", err, d)
		}

		far.set(nil)

		for range 3 {
			if _, err := cache.GetBlob(t.Context(), digestOf("a")); !errors.Is(err, storage.ErrCacheMiss) {
				t.Errorf("after that: %v", err)
			}
		}

		if log.Len() > 0 {
			t.Error(log.String())
		}
	})
}

// TestGuardLogsOnce: one line when trouble begins, and one when it is over, however
// often the cache seemed to work meanwhile.
func TestGuardLogsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder

		far := newFarCache()
		cache := guarded(far, &log)
		put := func(way func(context.Context) error) {
			far.set(way)
			time.Sleep(time.Second)

			_ = cache.PutBlob(t.Context(), digestOf("a"), "k")
		}

		for range 20 {
			put(fail)
			put(nil)
		}

		for range 10 {
			put(nil)
		}

		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], "warn") || !strings.Contains(lines[0], "broken") ||
			!strings.Contains(lines[1], "works again") || !strings.Contains(lines[1], `"errors":20`) {
			t.Errorf("log:\n%s", log.String())
		}
	})
}

// TestGuardTrustsLocalCaches: a disk that is slow is no network.
func TestGuardTrustsLocalCaches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := newFarCache()
		cache := guarded(nearCache{far}, nil)
		put := func() error { return cache.PutBlob(t.Context(), digestOf("a"), "k") }

		far.set(slow(time.Minute))

		if d, err := took(put); err != nil || d != time.Minute {
			t.Errorf("%v after %s", err, d)
		}

		far.set(fail)

		if err := errors.Join(put(), put()); far.count() != 3 || !errors.Is(err, errBroken) {
			t.Errorf("%d calls: %v", far.count(), err)
		}
	})
}

type nearCache struct{ *farCache }

func (nearCache) Local() bool { return true }

// TestPushesWithABrokenCache: they go on, and what the cache did not take in is brought
// to it later.
func TestPushesWithABrokenCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := newFarCache()
		w := storagetest.OpenOn(t, storagetest.NewMemory().Driver(), far, quiet)
		synctest.Wait()

		far.set(hang)

		var image storagetest.Image

		if d, _ := took(func() error { image = w.Push("a", "t", "layer"); return nil }); d > 250*time.Millisecond {
			t.Errorf("a push took %s", d)
		}

		w.Equal(w.Pull("a", image.Blobs[1]), "layer", "pulls go on")
		w.Equal(len(w.Store.FindBlob(t.Context(), "c", image.Blobs[1])), 0, "nothing is known")

		puts := far.count()

		far.set(nil)
		time.Sleep(10 * time.Second)
		w.Equal(len(w.Store.FindBlob(t.Context(), "c", image.Blobs[1])), 1, "all is known")

		if again := far.count() - puts; again > 30 {
			t.Errorf("%d calls: the cache was filled for a few blobs", again)
		}
	})
}

// TestCacheComesBackOld: a server was killed, and has only what its last snapshot had.
func TestCacheComesBackOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		content := storagetest.NewMapCache()
		w := storagetest.OpenOn(t, storagetest.NewMemory().Driver(), &farCache{Cache: content}, quiet)
		w.Push("a", "t", "layer")
		time.Sleep(time.Minute)

		snapshot := content.Copy()

		image := w.Push("b", "t", "layer")
		time.Sleep(5 * time.Second)

		content.Restore(snapshot)
		w.Equal(len(w.Store.FindBlob(t.Context(), "c", image.Blobs[1])), 1, "known right after")
		time.Sleep(time.Minute)
		w.Equal(len(w.Store.FindBlob(t.Context(), "c", image.Blobs[1])), 2, "known again")
	})
}

// TestFillingASlowCache: it is slower than any request would wait, and away for half a
// minute.
func TestFillingASlowCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := storagetest.NewMemory()
		w := openProcess(t, memory.Driver())

		layers := make([]string, 200)
		for i := range layers {
			layers[i] = fmt.Sprint("blob ", i)
		}

		w.Push("a", "t", layers...)
		mustClose(w)

		far := newFarCache()
		begin := time.Now()

		far.set(func(ctx context.Context) error {
			if after := time.Since(begin); after > 2*time.Second && after < 32*time.Second {
				return hang(ctx)
			}

			return slow(200 * time.Millisecond)(ctx)
		})

		w = storagetest.OpenOn(t, memory.Driver(), far, quiet)
		time.Sleep(time.Minute)
		far.set(nil)
		time.Sleep(2 * time.Second)

		for _, layer := range layers {
			w.Equal(len(w.Store.FindBlob(t.Context(), "c", digestOf(layer))), 1, "repositories known")
		}

		if far.most > 20 || far.most < 10 {
			t.Errorf("up to %d calls at a time", far.most)
		}
	})
}
