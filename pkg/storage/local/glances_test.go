package local_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/local"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// TestGlances: where files may be taken as they were seen, only what other programs do is seen
// late, and only by those who ask.
func TestGlances(t *testing.T) {
	var (
		dir   = t.TempDir()
		ahead atomic.Int64
	)

	root, err := local.OpenRoot(t.Context(), local.RootOptions{Path: dir, Commit: true, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}

	w := storagetest.OpenOn(t, root, storagetest.NewMapCache(), storage.Options{
		Log: zerolog.Nop(), LookAfter: time.Minute,
		Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
	})

	image := w.Push("a", "x", "layer")
	layer, loose := image.Blobs[1], w.Blob("a", "loose")
	at := func(dgst digest.Digest) string { return filepath.Join(dir, storage.BlobKey("a", dgst)) }

	hide := func(dgst digest.Digest) func() {
		aside := filepath.Join(t.TempDir(), "aside")
		w.NoError(os.Rename(at(dgst), aside), "take away")

		return func() { w.NoError(os.Rename(aside, at(dgst)), "bring back") }
	}

	w.NoError(w.Stat("a", layer), "HEAD")
	w.MustGet("a", "x")

	back := hide(layer)
	w.NoError(w.Stat("a", layer), "HEAD of what was there a moment ago")

	_, err = root.Stat(t.Context(), storage.BlobKey("a", layer))
	w.True(errors.Is(err, fs.ErrNotExist), "who looks sees that it is gone")

	ahead.Add(int64(time.Minute))
	w.Is(w.Stat("a", layer), storage.ErrBlobUnknown, "HEAD, later")
	back()
	w.NoError(w.Stat("a", layer), "HEAD")

	back = hide(layer)
	w.Blob("b", "another")
	w.Is(w.Stat("a", layer), storage.ErrBlobUnknown, "HEAD, once anything has changed")
	back()

	w.NoError(w.Stat("a", loose), "HEAD of what no manifest names")

	back = hide(loose)
	w.Is(w.Stat("a", loose), storage.ErrBlobUnknown, "which is looked at each time, since it is leased")
	back()

	w.MustGet("a", "x")

	back = hide(image.Digest)
	w.MustGet("a", "x")

	ahead.Add(int64(time.Minute))
	_, err = w.Store.GetManifest(t.Context(), "a", storage.Reference{Tag: "x"})
	w.Is(err, storage.ErrDamaged, "GET, later")
	back()
}
