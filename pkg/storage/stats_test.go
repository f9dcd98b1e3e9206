package storage_test

import (
	"context"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// TestStats: what is done to a store shows in its figures.
func TestStats(t *testing.T) {
	now := time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)
	far := newFarCache()
	w := storagetest.OpenOn(t, storagetest.NewMemory().Driver(), far, storage.Options{
		Log: zerolog.Nop(), Now: func() time.Time { return now }, GC: storage.GC{Delay: time.Hour},
	})

	before := w.Store.Stats()
	w.Equal(before.GC.Last.IsZero(), true, "nothing was collected yet")
	w.Equal(before.Cache.Driver, far.Name(), "driver of the cache")

	img := w.Push("a", "v1", "layer")
	pushed := w.Store.Stats()
	w.Equal(pushed.Journal.Commits, before.Journal.Commits+1, "commits after a push")
	w.Equal(pushed.Journal.Batches, before.Journal.Batches+1, "batches after a push")
	w.Equal(pushed.Journal.Flushes > before.Journal.Flushes, true, "a push flushes")
	w.Equal(pushed.Cache.Misses > before.Cache.Misses, true, "blobs that are new are asked for in vain")
	w.Equal(pushed.Cache.Errors, int64(0), "errors of the cache")

	if len(w.Store.FindBlob(t.Context(), "b", img.Blobs[0])) == 0 {
		t.Fatal("the cache does not know a blob")
	}

	w.Equal(w.Store.Stats().Cache.Hits, pushed.Cache.Hits+1, "a question with an answer")

	far.set(fail)
	w.Push("a", "v2", "another layer")

	failed := w.Store.Stats().Cache
	w.Equal(failed.Errors >= 1, true, "the first one failed")
	w.Equal(failed.Skipped >= 1, true, "and then the cache is left alone")

	if _, err := w.Store.Collect(t.Context()); err == nil {
		t.Fatal("it was not too early")
	}

	w.Equal(w.Store.Stats().GC.Runs, int64(0), "what was too early is no run")

	now = now.Add(2 * time.Hour)

	done, err := w.Store.Collect(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	after := w.Store.Stats().GC
	w.Equal(after, storage.GCStats{Runs: 1, Last: now, Done: done}, "a run")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	if _, err := w.Store.Collect(ctx); err == nil {
		t.Fatal("it was not broken off")
	}
}

// TestStatsOfStores: each store has figures of its own.
func TestStatsOfStores(t *testing.T) {
	open := func() *storagetest.World {
		return storagetest.OpenOn(t, storagetest.NewMemory().Driver(), storage.NoCache{}, storage.Options{Log: zerolog.Nop()})
	}

	standard, sub := open(), open()
	sub.Push("b/app", "v1", "layer")

	all := storage.NewStores(standard.Store, map[string]*storage.Store{"/b": sub.Store}).Stats()
	if len(all) != 2 || all[0].Prefix != "/" || all[1].Prefix != "/b" {
		t.Fatalf("got %+v", all)
	}

	standard.Equal(all[0].Journal.Commits, int64(0), "commits of the default store")
	standard.Equal(all[1].Journal.Commits, int64(1), "commits below /b")
}
