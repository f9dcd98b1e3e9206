package storage_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// TestAcknowledgedIsDurable: after each push the power fails.
func TestAcknowledgedIsDurable(t *testing.T) {
	memory := storagetest.NewMemory()
	want := map[string]string{}

	for i := range 20 {
		store, err := storage.Open(t.Context(), memory.Driver(), storagetest.NewMapCache(), storage.Options{Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}

		w := &storagetest.World{T: t, Driver: memory.Driver(), Store: store}
		for tag, dgst := range want {
			manifest := w.MustGet("a", tag)
			w.Equal(manifest.Digest.String(), dgst, tag)
			checkImage(w, "a", manifest)
		}

		tag := fmt.Sprint("t", i)
		want[tag] = w.Push("a", tag, fmt.Sprint("layer ", i%3), fmt.Sprint("own ", i)).Digest.String()

		memory.Crash()
		t.Cleanup(func() { _ = store.Close(context.Background()) })
	}
}

// TestFailedFlush: what a flush that failed had to cover is never served, until it is
// pushed again.
func TestFailedFlush(t *testing.T) {
	memory := storagetest.NewMemory()
	fault := storagetest.NewFault(memory.Driver())
	w := storagetest.OpenOn(t, fault, storagetest.NewMapCache(), storage.Options{Log: zerolog.Nop()})
	old := w.Push("a", "old", "old layer")

	fault.FailAt(1, storagetest.NotDone, func(name string) bool { return name == "sync" })

	_, err := w.TryPush("a", "new", "new layer")
	w.Is(err, storage.ErrDamaged, "the push is refused")
	w.Is(w.Get("a", "new"), storage.ErrManifestUnknown, "it did not happen")
	w.Is(w.Stat("a", digestOf("new layer")), storage.ErrBlobUnknown, "its layer is not there")
	w.Equal(w.MustGet("a", "old").Digest, old.Digest, "what was flushed before is")
	w.Equal(w.Pull("a", digestOf("old layer")), "old layer", "with its layer")

	w.Push("a", "new", "new layer")
	w.Equal(w.Pull("a", digestOf("new layer")), "new layer", "pushing it again heals it")
}

// TestFlushesAreShared: pushes that come together pay for few flushes.
func TestFlushesAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := storagetest.NewMemory()
		w := storagetest.OpenOn(t, slowSync{memory.Driver()}, storagetest.NewMapCache(), storage.Options{Log: zerolog.Nop()})

		var pushes sync.WaitGroup

		for i := range 64 {
			pushes.Go(func() {
				if _, err := w.TryPush(storage.RepoName(fmt.Sprint("r", i%4)), fmt.Sprint("t", i), fmt.Sprint(i)); err != nil {
					t.Error(err)
				}
			})
		}

		pushes.Wait()

		if flushes := memory.Syncs(); flushes > 10 {
			t.Errorf("%d flushes for 64 pushes that came together; each alone needs two", flushes)
		}
	})
}

// slowSync is a disk: a flush takes its time.
type slowSync struct{ storage.Driver }

func (s slowSync) Sync(ctx context.Context) error {
	time.Sleep(time.Millisecond)

	return s.Driver.Sync(ctx)
}

// TestReplicasAgree: two engines on one content lose nothing, and each sees what the
// other has acknowledged.
func TestReplicasAgree(t *testing.T) {
	memory := storagetest.NewMemory()
	one := storagetest.OpenOn(t, memory.Driver(), storagetest.NewMapCache(), storage.Options{Log: zerolog.Nop()})
	two := storagetest.OpenOn(t, memory.Driver(), storagetest.NewMapCache(), storage.Options{Log: zerolog.Nop()})

	var pushes sync.WaitGroup

	for n, w := range []*storagetest.World{one, two} {
		for i := range 50 {
			pushes.Go(func() {
				if _, err := w.TryPush("a", fmt.Sprintf("t%d-%02d", n, i), fmt.Sprint(n, i)); err != nil {
					t.Error(err)
				}
			})
		}
	}

	pushes.Wait()

	one.Equal(one.Tags("a", "", -1), two.Tags("a", "", -1), "both see the same")

	tags, _, err := one.Store.ListTags(t.Context(), "a", "", -1)
	if err != nil || len(tags) != 100 {
		t.Errorf("%d tags of 100, %v", len(tags), err)
	}

	_, err = two.Put(storage.ManifestPut{
		Repo: "a", Tags: []storage.Tag{"t0-00"}, Body: one.MustGet("a", "t0-01").Body,
		If: storage.Precondition{NoneAny: true},
	})
	if !errors.Is(err, storage.ErrPrecondition) {
		t.Errorf("creating a tag that the other replica has: %v", err)
	}
}

// TestCacheIsFilledAgain: whatever happens to a cache, it comes back.
func TestCacheIsFilledAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory, cache := storagetest.NewMemory(), storagetest.NewMapCache()
		w := storagetest.OpenOn(t, memory.Driver(), cache, storage.Options{Log: zerolog.Nop()})
		image := w.Push("a", "t", "layer")
		w.Push("b", "t", "layer")

		cache.Forget()
		w.Equal(w.Pull("a", image.Blobs[1]), "layer", "pulls go on")
		w.Equal(len(w.Store.FindBlob(t.Context(), "c", image.Blobs[1])), 0, "nothing is known")
		time.Sleep(time.Minute)
		w.Equal(len(w.Store.FindBlob(t.Context(), "c", image.Blobs[1])), 2, "all is known again")
	})
}

// TestCacheSeal: a cache is filled at start only if it may be incomplete.
func TestCacheSeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory, cache := storagetest.NewMemory(), storagetest.NewMapCache()
		run := func(work func(*storagetest.World), end func(*storage.Store)) {
			store, err := storage.Open(t.Context(), memory.Driver(), cache, storage.Options{Log: zerolog.Nop()})
			if err != nil {
				t.Fatal(err)
			}

			time.Sleep(time.Minute)
			work(&storagetest.World{T: t, Driver: memory.Driver(), Store: store})
			end(store)
		}
		closed := func(store *storage.Store) {
			if err := store.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}
		known := func(want int) func(*storagetest.World) {
			return func(w *storagetest.World) {
				w.Equal(len(w.Store.FindBlob(t.Context(), "c", digestOf("layer"))), want, "repositories known")
			}
		}

		run(func(w *storagetest.World) { w.Push("a", "t", "layer") }, closed)

		old := cache.Copy()

		run(known(1), closed)
		run(func(w *storagetest.World) { w.Push("b", "t", "layer") }, closed)

		cache = old
		run(known(2), closed)
	})
}
