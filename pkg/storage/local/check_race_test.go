package local_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/local"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// hookedRoot is a root in which something happens before an operation.
type hookedRoot struct {
	*local.Root

	open     func(key string, object *storage.Object)
	put      func(key string)
	setAside func(key string)
	linkless bool
}

func (r *hookedRoot) Open(ctx context.Context, key string, rng storage.Range) (*storage.Object, error) {
	object, err := r.Root.Open(ctx, key, rng)
	if err == nil && r.open != nil {
		r.open(key, object)
	}

	return object, err
}

func (r *hookedRoot) Put(ctx context.Context, key string, body []byte) (string, error) {
	if r.put != nil {
		r.put(key)
	}

	return r.Root.Put(ctx, key, body)
}

func (r *hookedRoot) SetAside(ctx context.Context, key, to string) (func() error, error) {
	if r.setAside != nil {
		r.setAside(key)
	}

	return r.Root.SetAside(ctx, key, to)
}

func (r *hookedRoot) Link(ctx context.Context, src, dst string) (string, error) {
	if r.linkless {
		return "", errors.ErrUnsupported
	}

	return r.Root.Link(ctx, src, dst)
}

// openHooked serves a root of its own.
func openHooked(t *testing.T, dir string) (*hookedRoot, *storagetest.World) {
	t.Helper()

	root, err := local.OpenRoot(t.Context(), local.RootOptions{Path: dir, Commit: true, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}

	hooked := &hookedRoot{Root: root}

	return hooked, storagetest.OpenOn(t, hooked, boltOf(t, dir, root), storage.Options{Log: zerolog.Nop()})
}

func repair(w *storagetest.World) (storage.CheckReport, error) {
	return w.Store.Check(w.T.Context(), storage.CheckOptions{Repair: true, FromStart: true}, func(storage.CheckProgress) {})
}

// flipIn flips a bit of a blob where it is.
func flipIn(t *testing.T, dir string, repo storage.RepoName, dgst digest.Digest) {
	t.Helper()

	file, err := os.OpenFile(dir+"/"+storage.BlobKey(repo, dgst), os.O_RDWR, 0)
	if err == nil {
		_, err = file.WriteAt([]byte{'#'}, 1)
		err = errors.Join(err, file.Close())
	}

	if err != nil {
		t.Fatal(err)
	}
}

// A manifest that is pushed while a repair puts its damaged bytes aside is there afterwards.
func TestRepairBesidePush(t *testing.T) {
	dir := t.TempDir()
	root, w := openHooked(t, dir)
	image := w.Push("a", "v1", "one")
	flipIn(t, dir, "a", image.Digest)

	var push sync.WaitGroup

	root.setAside = func(string) {
		pushed := make(chan struct{})

		push.Go(func() {
			defer close(pushed)

			_, err := w.Put(storage.ManifestPut{Repo: "a", Tags: []storage.Tag{"v1"}, Body: image.Body})
			w.NoError(err, "push while it is mended")
		})

		select {
		case <-pushed:
		case <-time.After(300 * time.Millisecond): // it waits
		}
	}

	_, err := repair(w)
	w.NoError(err, "repair")
	push.Wait()
	w.Equal(string(w.MustGet("a", "v1").Body), string(image.Body), "what was pushed")
}

// A manifest is not committed whose layer a repair puts aside after it was looked for.
func TestRepairTakesLayer(t *testing.T) {
	_, elsewhere := openHooked(t, t.TempDir())
	image := elsewhere.Push("a", "v1", "layer")

	dir := t.TempDir()
	root, w := openHooked(t, dir)
	w.Push("a", "other", "other")
	layer := w.Blob("a", "layer")
	flipIn(t, dir, "a", layer)

	root.put = func(key string) {
		if key == storage.BlobKey("a", image.Digest) {
			report, err := repair(w)
			w.NoError(err, "repair")
			w.Equal(report.Mended, 1, "mended")
		}
	}

	put := storage.ManifestPut{Repo: "a", Tags: []storage.Tag{"v1"}, Body: image.Body}
	_, err := w.Put(put)
	w.True(isMoved(err), "the layer is missing", err)

	w.Blob("a", "layer")

	_, err = w.Put(put)
	w.NoError(err, "push again")
	w.Equal(w.Pull("a", layer), "layer", "the layer")
}

// The mark of a blob that a repair has put aside goes, if nothing needs it.
func TestRepairForgetsMark(t *testing.T) {
	dir := t.TempDir()
	root, w := openHooked(t, dir)
	w.Push("a", "other", "other")
	layer := w.Blob("a", "layer")
	flipIn(t, dir, "a", layer)

	_, err := repair(w)
	w.NoError(err, "repair")

	for info, err := range root.List(t.Context(), "_damaged/", "") {
		t.Errorf("left is the mark %s: %v", info.Key, err)
	}

	w.Is(w.Stat("a", layer), storage.ErrBlobUnknown, "what was put aside")
}

// Damaged bytes with many names are read twice in all, and put aside under each.
func TestScrubReadsDamageTwice(t *testing.T) {
	dir := t.TempDir()
	root, w := openHooked(t, dir)
	layer := digest.FromString("layer")

	for _, repo := range []storage.RepoName{"a", "b", "c", "d"} {
		w.Push(repo, "v1", "layer")
	}

	flipIn(t, dir, "a", layer)

	reads := 0
	root.open = func(key string, _ *storage.Object) {
		if strings.HasSuffix(key, layer.Encoded()) {
			reads++
		}
	}

	report, err := w.Store.Scrub(t.Context(), storage.ScrubOptions{}, func(storage.CheckProgress) {})
	w.NoError(err, "scrub")
	w.Equal(report.Problems, 4, "names that are damaged")
	w.Equal(reads, 2, "reads")
}

// Bytes that are read wrongly when they are copied do not take the place of damaged ones.
func TestRepairVerifiesCopy(t *testing.T) {
	c := newCheckedRoot(t) // in which a and b have the layer as files of their own
	c.flip(c.blob("a", c.layer), 0)

	root, w := openHooked(t, c.dir)
	root.linkless = true

	reads := 0
	root.open = func(key string, object *storage.Object) {
		if key != storage.BlobKey("b", c.layer) {
			return
		}

		if reads++; reads == 2 {
			object.Body = io.MultiReader(bytes.NewReader([]byte("#")), io.LimitReader(object.Body, object.Size-1))
		}
	}

	_, err := repair(w)
	w.Is(err, storage.ErrDamaged, "a repair")
	w.Is(w.Stat("a", c.layer), storage.ErrBlobUnknown, "what could not be mended")

	_, err = repair(w)
	w.NoError(err, "a repair")
	w.Equal(w.Pull("a", c.layer), "one", "what was mended")
}
