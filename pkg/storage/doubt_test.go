package storage_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// unwalked is a root that cannot be walked over: what is in doubt stays so until somebody asks.
type unwalked struct{ storage.Driver }

func (u unwalked) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Info, error] {
	if prefix != "" {
		return u.Driver.List(ctx, prefix, after)
	}

	return func(yield func(storage.Info, error) bool) { yield(storage.Info{}, errors.New("no walk")) }
}

// hollowed returns a root with the blob "layer" in the repository a, pushed before a power cut
// that took its bytes, and left its name and its length. An image in the repository old was
// acknowledged.
func hollowed(t *testing.T) *storagetest.Memory {
	t.Helper()

	memory := storagetest.NewMemory()
	w := openProcess(t, memory.Driver())
	w.Push("old", "t", "old layer")
	w.Blob("a", "layer")
	memory.CrashHollow()
	kill(w)

	return memory
}

// TestHollowBlob: a blob of which a power cut has left name and length only is not there,
// however a client gets to it.
func TestHollowBlob(t *testing.T) {
	ways := map[string]func(w *storagetest.World){
		"HEAD": func(w *storagetest.World) {
			w.Is(w.Stat("a", digestOf("layer")), storage.ErrBlobUnknown, "stat")
		},
		"GET": func(w *storagetest.World) {
			_, err := w.Store.OpenBlob(w.T.Context(), "a", digestOf("layer"), storage.Whole)
			w.Is(err, storage.ErrDamaged, "open")
		},
		"a manifest that names it": func(w *storagetest.World) {
			w.Blob("a", "{}")

			var missing *storage.MissingError
			if err := tryPut(w, "a", "t", "layer"); !errors.As(err, &missing) {
				w.T.Errorf("put: %v", err)
			}
		},
		"a mount from there": func(w *storagetest.World) {
			w.Is(w.Store.MountBlob(w.T.Context(), "b", digestOf("layer"), "a", ""), storage.ErrBlobUnknown, "mount")
		},
		"a mount to there": func(w *storagetest.World) {
			w.Blob("b", "layer")
			w.NoError(w.Store.MountBlob(w.T.Context(), "a", digestOf("layer"), "b", ""), "mount")
			w.Equal(w.Pull("a", digestOf("layer")), "layer", "bytes")
		},
		"the same blob in another repository": func(w *storagetest.World) {
			w.Push("b", "t", "layer")
			w.Equal(w.Pull("b", digestOf("layer")), "layer", "bytes")
		},
		"a push to heal it": func(w *storagetest.World) {
			w.Push("a", "t", "layer")
			w.Equal(w.Pull("a", digestOf("layer")), "layer", "bytes")
		},
	}

	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			memory := hollowed(t)
			cache := storagetest.NewMapCache()
			mustPut(t, cache, "a", "layer")

			w := storagetest.OpenOn(t, unwalked{memory.Driver()}, cache, quiet)
			way(w)
			w.Equal(w.Pull("old", digestOf("old layer")), "old layer", "what was acknowledged")
		})
	}
}

func mustPut(t *testing.T, cache storage.Cache, repo storage.RepoName, content string) {
	t.Helper()

	if err := cache.PutBlob(t.Context(), digestOf(content), storage.BlobKey(repo, digestOf(content))); err != nil {
		t.Fatal(err)
	}
}

// TestHollowBlobOutlivesShortProcess: that a process has ended in good order says nothing of
// what it has not looked at; once it has looked at all, the next one need not.
func TestHollowBlobOutlivesShortProcess(t *testing.T) {
	memory := hollowed(t)
	mustClose(openProcess(t, unwalked{memory.Driver()}))

	w := openProcess(t, unwalked{memory.Driver()})
	w.Is(w.Stat("a", digestOf("layer")), storage.ErrBlobUnknown, "in the process after")
	mustClose(w)
}

// TestDoubtEnds: what nobody asks for is read in the background; then nothing is read any more
// to be asked for, neither by this process nor by one that follows a good end.
func TestDoubtEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := hollowed(t)

		w := openProcess(t, memory.Driver())
		time.Sleep(time.Minute)
		w.Equal(w.Stat("a", digestOf("layer")) != nil, true, "the hollow blob is not there")
		w.Blob("a", "whole")
		mustClose(w)

		fault := storagetest.NewFault(memory.Driver())
		w = openProcess(t, fault)
		w.NoError(w.Stat("a", digestOf("whole")), "a whole blob is there")
		w.Is(w.Stat("a", digestOf("layer")), storage.ErrBlobUnknown, "the hollow blob is not")
		time.Sleep(time.Minute)
		mustClose(w)

		for _, name := range fault.Names() {
			if strings.HasPrefix(name, "open a/blobs/") {
				t.Errorf("%s, although all is known to be on disk", name)
			}
		}
	})
}

// uncommitted is a root whose Sync is set to do nothing.
type uncommitted struct{ storage.Driver }

func (u uncommitted) Sync(context.Context) error { return nil }

func (u uncommitted) SyncAlways(ctx context.Context) error { return u.Driver.Sync(ctx) }

// TestHollowBlobUncommitted: where nothing is flushed, what a process says at its end is true
// all the same, and does not outlive the next one's beginning.
func TestHollowBlobUncommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := storagetest.NewMemory()
		w := openProcess(t, uncommitted{memory.Driver()})
		time.Sleep(time.Minute) // a new root is in doubt, until that has been looked at
		w.Blob("a", "first")
		mustClose(w)
		memory.CrashHollow()

		w = openProcess(t, uncommitted{memory.Driver()})
		w.Equal(w.Pull("a", digestOf("first")), "first", "what was there at a good end")
		w.Blob("a", "second")
		memory.CrashHollow()
		kill(w)

		w = openProcess(t, uncommitted{unwalked{memory.Driver()}})
		w.Is(w.Stat("a", digestOf("second")), storage.ErrBlobUnknown, "what was not flushed")
		w.NoError(w.Stat("a", digestOf("first")), "what was")
		mustClose(w)
	})
}

// TestKilledProcess: what a process had that was killed is there, and has to be read once.
func TestKilledProcess(t *testing.T) {
	memory := storagetest.NewMemory()
	w := openProcess(t, memory.Driver())
	w.Blob("a", "layer")
	w.Blob("a", "{}")
	kill(w)

	fault := storagetest.NewFault(unwalked{memory.Driver()})
	w = openProcess(t, fault)
	w.NoError(w.Stat("a", digestOf("layer")), "stat")
	w.NoError(w.Stat("a", digestOf("layer")), "stat again")
	w.NoError(tryPut(w, "a", "t", "layer"), "put")

	opened := 0

	for _, name := range fault.Names() {
		if name == "open "+storage.BlobKey("a", digestOf("layer")) {
			opened++
		}
	}

	w.Equal(opened, 1, "times it was read")
	mustClose(w)
}

// TestDoubtAfterFailedFlush: what an earlier process may not have flushed is not believed when
// a flush has failed since: it may be in memory only, which cannot be flushed any more.
func TestDoubtAfterFailedFlush(t *testing.T) {
	memory := storagetest.NewMemory()
	w := openProcess(t, memory.Driver())
	w.Blob("a", "layer")
	kill(w)

	fault := storagetest.NewFault(unwalked{memory.Driver()})
	w = openProcess(t, fault)

	fault.FailAt(1, storagetest.NotDone, func(name string) bool { return name == "sync" })

	_, err := w.TryPush("b", "t", "other")
	w.Is(err, storage.ErrDamaged, "a push whose flush fails")
	w.Is(w.Stat("a", digestOf("layer")), storage.ErrBlobUnknown, "stat")
	mustClose(w)
}

// TestHealedIsOnDiskFirst: the mark of a damaged blob goes when the new bytes are on disk.
func TestHealedIsOnDiskFirst(t *testing.T) {
	fault := storagetest.NewFault(storagetest.NewMemory().Driver())
	w := openProcess(t, fault)
	w.Push("a", "t", "layer")
	w.Overwrite("a", digestOf("layer"), "cut")
	w.Is(w.Stat("a", digestOf("layer")), storage.ErrBlobUnknown, "it is damaged")

	fault.FailAt(0, storagetest.NotDone, nil)
	w.Blob("a", "layer")

	names := fault.Names()
	synced := slices.Index(names, "sync")
	unmarked := slices.Index(names, "delete _damaged/"+storage.BlobKey("a", digestOf("layer")))
	w.True(synced >= 0 && synced < unmarked, "the mark goes after a flush", names)
	mustClose(w)
}
