package local_test

import (
	"context"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/local"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// garbageFault is a store on a directory that has garbage of each kind, and a driver of which
// one operation fails.
type garbageFault struct {
	*storagetest.World

	dir   string
	ahead atomic.Int64
	fault *storagetest.Fault
	kept  []digest.Digest // what is needed in the repository "a"
}

// TestCollectFaults lets each operation of a run of GC fail, one after the other. What is
// needed stays, pushes go on, and a run without faults removes the rest.
func TestCollectFaults(t *testing.T) {
	storagetest.EachFault(t, func(t *testing.T, n int, mode storagetest.FaultMode) *storagetest.Fault {
		g := &garbageFault{dir: t.TempDir()}
		g.open(t)
		g.litter()

		var armed atomic.Bool

		armed.Store(true)
		g.fault.FailAt(n, mode, func(string) bool { return armed.Load() })

		_, err := g.Store.Collect(t.Context())
		armed.Store(false)

		hit := g.fault.Hit()
		g.True(hit == "" || err != nil || hiddenFault(hit), "the fault is told", hit)

		g.checkKept()

		again := g.Push("emptied", "again", "of the emptied one")

		g.reopen(t)
		g.checkKept()
		g.MustGet("emptied", "again")
		g.NoError(g.Delete("emptied", string(again.Digest), storage.Precondition{}), "delete what came again")
		g.collectAll()
		g.checkKept()
		g.checkClean()
		g.NoError(g.Store.Close(context.Background()), "close")

		return g.fault
	})
}

// hiddenFault says whether nobody has to be told of a fault: a log that is not needed any more,
// and a look at what is not there, which fails anyway.
func hiddenFault(name string) bool {
	return strings.HasPrefix(name, "close log") || strings.HasPrefix(name, "stat ")
}

func (g *garbageFault) open(t *testing.T) {
	t.Helper()

	root, err := local.OpenRoot(t.Context(), local.RootOptions{Path: g.dir, Commit: true, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}

	driver := storagetest.NewFault(root)
	if g.fault == nil {
		g.fault = driver // that of the process in which an operation fails
	}

	store, err := storage.Open(t.Context(), driver, storagetest.NewMapCache(), storage.Options{
		Log: zerolog.Nop(),
		Now: func() time.Time { return time.Now().Add(time.Duration(g.ahead.Load())) },
		GC:  storage.GC{Delay: delay, Undelete: undelete},

		Passive: true, // else work in the background may meet the fault
	})
	if err != nil {
		t.Fatal(err)
	}

	g.World = &storagetest.World{T: t, Driver: driver, Store: store}
}

func (g *garbageFault) reopen(t *testing.T) {
	t.Helper()
	g.NoError(g.Store.Close(context.Background()), "close")
	g.open(t)
}

// litter makes an image that stays, and what a run removes: an image that was deleted, a blob
// that nobody names, one that was deleted, an upload that stands still, and a repository.
func (g *garbageFault) litter() {
	g.T.Helper()

	image := g.Push("a", "x", "kept")
	g.kept = append(slices.Clone(image.Blobs), image.Digest)

	deleted := g.Push("a", "y", "of a deleted image")
	g.NoError(g.Delete("a", string(deleted.Digest), storage.Precondition{}), "delete the image")
	g.Blob("a", "loose")
	g.NoError(g.DeleteBlob("a", g.Blob("a", "deleted")), "delete the blob")
	g.Append("a", g.Start("a"), 0, "bytes")

	emptied := g.Push("emptied", "x", "of the emptied one")
	g.NoError(g.Delete("emptied", string(emptied.Digest), storage.Precondition{}), "delete the image")

	g.ahead.Add(int64(undelete + 2*delay))
}

// collectAll runs GC until nothing is left to do, which takes two runs: what is forgotten in one
// is removed with it, and of what was removed nothing is remembered after the next.
func (g *garbageFault) collectAll() {
	g.T.Helper()

	for range 2 {
		g.ahead.Add(int64(undelete + 2*delay))

		_, err := g.Store.Collect(g.T.Context())
		g.NoError(err, "collect")
	}
}

func (g *garbageFault) checkKept() {
	g.T.Helper()
	g.MustGet("a", "x")
	g.Equal(g.Tags("a", "", -1), "x", "tags")
	g.Equal(g.Pull("a", digest.FromString("kept")), "kept", "the layer that is needed")
}

// checkClean: of blobs, uploads and temporary files only what is needed is left.
func (g *garbageFault) checkClean() {
	g.T.Helper()
	g.Equal(g.Repos("", -1), "a", "repositories")

	err := filepath.WalkDir(g.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}

		key, err := filepath.Rel(g.dir, path)

		_, dgst, isBlob := storage.SplitBlobKey(key)
		if isBlob && !slices.Contains(g.kept, dgst) || strings.Contains(key, "/.uploads/") || strings.HasPrefix(key, "_tmp/") {
			g.T.Errorf("%s is left", key)
		}

		return err
	})
	g.NoError(err, "walk the root")
}
