package local_test

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/local"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// garbageWorld is a store whose clock a test moves.
type garbageWorld struct {
	*storagetest.World

	dir   string
	ahead *atomic.Int64
}

// The delays of a garbageWorld.
const (
	delay    = time.Hour
	undelete = 24 * time.Hour
	history  = 720 * time.Hour
)

func openGarbage(t *testing.T) garbageWorld {
	t.Helper()

	g := openGarbageIn(t, t.TempDir())
	t.Cleanup(func() { g.NoError(g.Store.Close(context.Background()), "close") })

	return g
}

// openGarbageIn opens a directory; the caller closes the store.
func openGarbageIn(t *testing.T, dir string, policies ...storage.Policy) garbageWorld {
	t.Helper()

	g, err := tryOpenGarbage(t, dir, storagetest.NewMapCache(), policies...)
	if err != nil {
		t.Fatal(err)
	}

	return g
}

// tryOpenGarbage opens a directory with a cache, or with its own if that is nil.
func tryOpenGarbage(t *testing.T, dir string, cache storage.Cache, policies ...storage.Policy) (garbageWorld, error) {
	t.Helper()

	root, err := local.OpenRoot(t.Context(), local.RootOptions{Path: dir, Commit: true, Log: zerolog.Nop()})
	if err != nil {
		return garbageWorld{}, err
	}

	if cache == nil {
		cache = boltOf(t, dir, root)
	}

	return openGarbageOn(t, dir, root, cache, policies...)
}

// openGarbageOn opens a directory by its driver. If it fails, both are closed.
func openGarbageOn(
	t *testing.T, dir string, driver storage.Driver, cache storage.Cache, policies ...storage.Policy,
) (garbageWorld, error) {
	t.Helper()

	ahead := new(atomic.Int64)
	ahead.Add(int64(-2 * delay))

	store, err := storage.Open(t.Context(), driver, cache, storage.Options{
		Log: zerolog.Nop(),
		Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
		GC: storage.GC{
			Delay: delay, Undelete: undelete, History: history, Retention: storage.Retention{Policies: policies},
		},
	})
	if err != nil {
		return garbageWorld{}, errors.Join(err, driver.Close(), cache.Close())
	}

	g := garbageWorld{&storagetest.World{T: t, Driver: driver, Store: store}, dir, ahead}
	g.wait(2 * delay) // after a start; now the clock is that of the files

	return g, nil
}

func (g garbageWorld) wait(d time.Duration) { g.ahead.Add(int64(d)) }

// collect runs GC, and says how many blobs it has freed.
func (g garbageWorld) collect() (freed int) {
	g.T.Helper()

	done, err := g.Store.Collect(g.T.Context())
	g.NoError(err, "collect")

	return done.Blobs
}

func (g garbageWorld) exists(repo storage.RepoName, dgst digest.Digest) bool {
	_, err := os.Stat(filepath.Join(g.dir, storage.BlobKey(repo, dgst)))

	return err == nil
}

func TestCollectTooEarly(t *testing.T) {
	w := openGarbage(t)
	w.wait(-2 * delay)

	_, err := w.Store.Collect(t.Context())
	w.Is(err, storage.ErrTooEarly, "collect right after a start")
}

// TestCollectBlobs: a blob that no manifest names goes when nobody was told of it for
// gcDelay.
func TestCollectBlobs(t *testing.T) {
	w := openGarbage(t)
	w.Push("a", "keep", "kept")
	kept, loose := digest.FromString("kept"), w.Blob("a", "loose")
	shared := w.Blob("a", "kept elsewhere")
	w.Push("b", "x", "kept elsewhere")

	w.wait(delay - time.Minute)
	w.Equal(w.collect(), 0, "freed, when both are young")
	w.NoError(w.Stat("a", loose), "HEAD") // a lease

	w.wait(delay - time.Minute)
	w.Equal(w.collect(), 1, "freed, of two of which one is leased")
	w.True(w.exists("a", loose), "leased blob is there")
	w.True(!w.exists("a", shared), "a's name of the shared blob is gone")
	w.Equal(w.Pull("b", shared), "kept elsewhere", "the other repository's")

	w.wait(time.Minute)
	w.Equal(w.collect(), 1, "freed, after the lease")
	w.Is(w.Stat("a", loose), storage.ErrBlobUnknown, "HEAD of what was collected")
	w.Equal(w.Pull("a", kept), "kept", "what a manifest names")
	w.Equal(w.Blob("a", "loose"), loose, "pushed again")
	w.Equal(w.Pull("a", loose), "loose", "pulled again")
}

// TestCollectMark: that a blob was damaged, whose bytes were put aside, is known for as long as
// something needs the blob.
func TestCollectMark(t *testing.T) {
	w := openGarbage(t)
	layer := w.Push("a", "x", "layer").Blobs[1]
	mark := filepath.Join(w.dir, "_damaged", storage.BlobKey("a", layer))

	w.Overwrite("a", layer, "wrong")

	report, err := w.Store.Check(t.Context(), storage.CheckOptions{Repair: true}, func(storage.CheckProgress) {})
	w.NoError(err, "check")
	w.Equal(report.Problems, 1, "problems that are left")
	w.True(!w.exists("a", layer), "the bytes were put aside")

	w.wait(undelete + delay)
	w.collect()

	_, err = os.Stat(mark)
	w.NoError(err, "the mark of what an image needs")

	w.NoError(w.Delete("a", w.MustGet("a", "x").Digest.String(), storage.Precondition{}), "delete")
	w.wait(undelete + delay)
	w.collect() // and forget
	w.wait(undelete + delay)
	w.collect()

	_, err = os.Stat(mark)
	w.Is(err, fs.ErrNotExist, "the mark of what nothing needs")
}

// TestCollectImage: a deleted image stays for as long as it can be brought back; of the
// repository nothing is left.
func TestCollectImage(t *testing.T) {
	w := openGarbage(t)
	image := w.Push("a/b", "x", "layer")
	w.NoError(w.Delete("a/b", "x", storage.Precondition{}), "delete the tag")
	w.NoError(w.Delete("a/b", string(image.Digest), storage.Precondition{}), "delete the manifest")

	w.wait(undelete - time.Minute)
	w.Equal(w.collect(), 0, "freed, before that cannot be undone")

	w.wait(time.Minute)
	w.Equal(w.collect(), 3, "freed: config, layer, manifest")
	w.Equal(w.Repos("", -1), "", "repositories")

	if _, err := os.Stat(filepath.Join(w.dir, "a")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory of the repository: %v", err)
	}

	w.Equal(w.Push("a/b", "x", "layer").Digest, image.Digest, "pushed again")
	w.MustGet("a/b", "x")
	w.Equal(w.Repos("", -1), "a/b", "repositories")
}

// TestCollectDeletedBlob: of a blob that a client has deleted nothing is remembered once
// its bytes are gone.
func TestCollectDeletedBlob(t *testing.T) {
	w := openGarbage(t)
	w.Push("a", "x", "kept")
	loose := w.Blob("a", "loose")
	w.NoError(w.DeleteBlob("a", loose), "delete")

	w.wait(delay)
	w.Equal(w.collect(), 1, "freed")
	w.wait(delay)
	w.Equal(w.collect(), 0, "freed by the next run")
	w.Equal(w.Blob("a", "loose"), loose, "pushed again")
	w.Equal(w.Pull("a", loose), "loose", "pulled again")
}

// TestCollectUploads: an upload that stands still is dropped, one that moves is not.
func TestCollectUploads(t *testing.T) {
	w := openGarbage(t)
	w.Push("a", "x", "kept")

	still := w.Start("a")
	w.Append("a", still, 0, "bytes")
	w.wait(delay + time.Minute)

	moves := w.Start("a")
	w.Append("a", moves, 0, "bytes")

	ahead := filepath.Join(w.dir, storage.UploadKey("a", moves))
	now := time.Now().Add(time.Duration(w.ahead.Load()))
	w.NoError(os.Chtimes(ahead, now, now), "move the file's time as the clock was")

	done, err := w.Store.Collect(t.Context())
	w.NoError(err, "collect")
	w.Equal(done.Uploads, 1, "dropped")
	w.IsUnknown("a", still, "the one that stood still")
	w.Equal(w.SizeOf("a", moves), int64(5), "the one that moves")
}

// TestCollectBesideBlobs: a repository may lie in the directory of another, even in its blobs.
func TestCollectBesideBlobs(t *testing.T) {
	w := openGarbage(t)
	w.Push("a", "x", "of a")
	w.Push("a/blobs", "x", "of another")
	w.Push("a/blobs/c", "x", "of a third")

	w.wait(2 * delay)
	w.Equal(w.collect(), 0, "freed")
	w.Equal(w.Pull("a/blobs", digest.FromString("of another")), "of another", "pulled")
	w.Equal(w.Pull("a/blobs/c", digest.FromString("of a third")), "of a third", "pulled")
}

// TestCollectUnreadable: of a repository of which nothing is known, since its index.json cannot
// be read, nothing is collected.
func TestCollectUnreadable(t *testing.T) {
	for name, content := range map[string]string{"emptied": "", "garbage": "}", "of another kind": `{"schemaVersion":9}`} {
		t.Run(name, func(t *testing.T) {
			dir, theirs := t.TempDir(), digest.FromString("theirs")
			blob := filepath.Join(dir, storage.BlobKey("a", theirs))

			for path, content := range map[string]string{blob: "theirs", filepath.Join(dir, "a", "index.json"): content} {
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
					t.Fatal(err)
				}
			}

			w := openGarbageIn(t, dir)
			t.Cleanup(func() { w.NoError(w.Store.Close(context.Background()), "close") })

			for w.Repos("", -1) == "" { // the catalog is made behind
				runtime.Gosched()
			}

			for range 3 {
				w.wait(2 * delay)

				_, _ = w.Store.Collect(t.Context()) // it may say that it cannot read the repository
			}

			w.True(w.exists("a", theirs), "their blob is there")
		})
	}
}

// TestCollectStray: what was pushed to a repository that never got a manifest is collected
// as well.
func TestCollectStray(t *testing.T) {
	w := openGarbage(t)
	w.Push("a", "x", "kept")
	stray := w.Blob("stray/b", "no manifest names it")
	w.Append("stray/b", w.Start("stray/b"), 0, "bytes")
	w.Append("a/c", w.Start("a/c"), 0, "bytes")

	w.wait(delay - time.Minute)
	w.Equal(w.collect(), 0, "freed, while clients count on it")
	w.Equal(w.Pull("stray/b", stray), "no manifest names it", "pulled")

	w.wait(2 * delay)
	w.Equal(w.collect(), 1, "freed")

	for _, dir := range []string{"stray", "a/c"} {
		if _, err := os.Stat(filepath.Join(w.dir, dir)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the directory %s: %v", dir, err)
		}
	}

	w.Equal(w.Repos("", -1), "a", "repositories")
	w.MustGet("a", "x")
}

// copyIn does what "cp -a" of a file does.
func (g garbageWorld) copyIn(key, content string, age time.Duration) {
	g.T.Helper()

	path := filepath.Join(g.dir, key)
	bears := time.Now().Add(time.Duration(g.ahead.Load()) - age)
	g.NoError(errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600),
		os.Chtimes(path, bears, bears)), "copy")
}

// TestCollectWhatIsBeingCopied: blobs that another program copies into the root have the times
// that they had, and their index.json comes last.
func TestCollectWhatIsBeingCopied(t *testing.T) {
	const year = 365 * 24 * time.Hour

	w := openGarbage(t)
	w.Push("a", "x", "kept")

	first, second := digest.FromString("first"), digest.FromString("second")

	w.copyIn("stray/.uploads/README", "of another program", 0)
	w.copyIn(storage.BlobKey("stray", first), "first", year)
	w.copyIn(storage.BlobKey("a", first), "first", year)
	w.Equal(w.collect(), 0, "freed, of what has just come")

	why, err := w.Store.Why(t.Context(), "a", first)
	w.NoError(err, "why")
	w.True(why.Kept, "what GC keeps has a reason", why)

	w.wait(2 * delay)
	w.copyIn(storage.BlobKey("stray", second), "second", 0)
	w.Equal(w.collect(), 1, "freed")
	w.True(!w.exists("a", first), "nobody has come to name it")
	w.True(w.exists("stray", first), "more is coming to that repository")

	w.wait(2 * delay)
	w.Equal(w.collect(), 2, "freed, when nothing comes any more")
}

// TestCollectPathWithBrackets: a root may have any name.
func TestCollectPathWithBrackets(t *testing.T) {
	w := openGarbageIn(t, filepath.Join(t.TempDir(), "a[b"))
	t.Cleanup(func() { w.NoError(w.Store.Close(context.Background()), "close") })

	image := w.Push("a", "x", "layer")
	w.NoError(w.Delete("a", string(image.Digest), storage.Precondition{}), "delete")
	w.wait(undelete)
	w.Equal(w.collect(), 3, "freed")

	if _, err := os.Stat(filepath.Join(w.dir, "a")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory of the repository: %v", err)
	}
}

// listSpy is a directory in which something happens after uploads were listed.
type listSpy struct {
	*local.Root

	then func()
}

func (s *listSpy) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		for info, err := range s.Root.List(ctx, prefix, after) {
			if then := s.then; then != nil && prefix == storage.UploadKey("a", "") {
				s.then = nil
				then()
			}

			if !yield(info, err) {
				return
			}
		}
	}
}

// TestCollectResumedUpload: an upload that has stood still, and goes on just when GC is about to
// drop it, is not dropped; neither is one whose client only asks how far it is.
func TestCollectResumedUpload(t *testing.T) {
	for name, resume := range map[string]func(w *storagetest.World, id string){
		"a chunk":   func(w *storagetest.World, id string) { w.Append("a", id, 5, "more") },
		"its state": func(w *storagetest.World, id string) { w.Equal(w.SizeOf("a", id), int64(5), "size") },
	} {
		t.Run(name, func(t *testing.T) {
			root, err := local.OpenRoot(t.Context(), local.RootOptions{Path: t.TempDir(), Commit: true, Log: zerolog.Nop()})
			if err != nil {
				t.Fatal(err)
			}

			var ahead atomic.Int64

			spy := &listSpy{Root: root}
			w := storagetest.OpenOn(t, spy, storagetest.NewMapCache(), storage.Options{
				Log: zerolog.Nop(),
				Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
				GC:  storage.GC{Delay: delay},
			})

			w.Push("a", "x", "kept")
			id := w.Start("a")
			w.Append("a", id, 0, "bytes")
			ahead.Add(int64(2 * delay))

			spy.then = func() { resume(w, id) }

			done, err := w.Store.Collect(t.Context())
			w.NoError(err, "collect")
			w.True(spy.then == nil, "the upload was resumed meanwhile")
			w.Equal(done.Uploads, 0, "dropped")
			w.Append("a", id, -1, "!")
		})
	}
}
