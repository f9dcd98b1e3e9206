package local_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

func TestCopyOnDirectory(t *testing.T) { storagetest.TestCopy(t, openDirectory, openDirectory) }

// busy pushes, moves and deletes tags of a store until ctx ends, and remembers those that
// were pushed and stay.
type busy struct {
	garbageWorld

	pushing sync.RWMutex // no push takes as long as what is waited for

	mu    sync.Mutex
	stays map[string]digest.Digest // by "<repository> <tag>"
}

func (b *busy) work(ctx context.Context, worker int) error {
	repo := storage.RepoName(fmt.Sprint("r", worker%2))

	for n := 0; ctx.Err() == nil; n++ {
		tag := fmt.Sprintf("w%d-%d", worker, n)

		b.pushing.RLock()
		image, err := b.TryPush(repo, tag, "shared", fmt.Sprint(worker, n))
		b.pushing.RUnlock()

		if err != nil {
			return fmt.Errorf("push: %w", err)
		}

		if n%3 > 0 {
			b.mu.Lock()
			b.stays[string(repo)+" "+tag] = image.Digest
			b.mu.Unlock()

			continue
		}

		if err := b.Delete(repo, image.Digest.String(), storage.Precondition{}); err != nil {
			return fmt.Errorf("delete: %w", err)
		}
	}

	return nil
}

func (b *busy) collectAlways(ctx context.Context) error {
	for ctx.Err() == nil {
		b.pushing.Lock()
		b.wait(2 * undelete)
		b.pushing.Unlock()

		if _, err := b.Store.Collect(context.WithoutCancel(ctx)); err != nil {
			return fmt.Errorf("collect: %w", err)
		}
	}

	return nil
}

// TestCopyBusy: while clients push and delete, and GC runs, a copy is whole: each manifest
// with all that it names, and each tag that was acknowledged before it began.
func TestCopyBusy(t *testing.T) {
	b := &busy{garbageWorld: openGarbage(t), stays: map[string]digest.Digest{}}
	dst := storagetest.Open(t, openDirectory)

	ctx, stop := context.WithCancel(t.Context())

	var workers sync.WaitGroup

	for worker := range 4 {
		workers.Go(func() { b.report(b.work(ctx, worker)) })
	}

	workers.Go(func() { b.report(b.collectAlways(ctx)) })

	for range 12 {
		b.mu.Lock()
		before := maps.Clone(b.stays)
		b.mu.Unlock()

		b.Copy(dst, storage.CopyOptions{Exact: true})

		for key, dgst := range before {
			repo, tag, _ := strings.Cut(key, " ")
			b.Equal(dst.MustGet(storage.RepoName(repo), tag).Digest, dgst, key)
		}

		b.checkWhole(dst)
	}

	stop()
	workers.Wait()
}

func (b *busy) report(err error) {
	if err != nil {
		b.T.Error(err)
	}
}

// checkWhole fails the test unless all tags of a store can be pulled.
func (b *busy) checkWhole(dst *storagetest.World) {
	b.T.Helper()

	for repo := range strings.FieldsSeq(dst.Repos("", -1)) {
		name := storage.RepoName(repo)

		for tag := range strings.FieldsSeq(dst.Tags(name, "", -1)) {
			for _, dgst := range storagetest.NamedBy(dst.MustGet(name, tag).Body) {
				b.Equal(digest.FromString(dst.Pull(name, dgst)), dgst, "blob of "+repo+":"+tag)
			}
		}
	}
}

// TestCopyPinned: what is being copied is not collected, even where it was deleted, and
// forgotten, since the copy began.
func TestCopyPinned(t *testing.T) {
	w := openGarbage(t)
	image := w.Push("a", "v1", "layer")
	w.Push("a", "v2", "another")

	driver, cache := openDirectory(t)

	var once sync.Once

	deleted := func() {
		w.NoError(w.Store.DeleteRepo(t.Context(), "a", ""), "delete")

		for range 3 {
			w.wait(2 * undelete)
			w.collect()
		}
	}
	dst := storagetest.OpenOn(t, beforeUpload{driver, func() { once.Do(deleted) }}, cache, storage.Options{Log: zerolog.Nop()})

	w.Copy(dst, storage.CopyOptions{Exact: true})
	w.Equal(dst.Tags("a", "", -1), "v1 v2", "tags at the moment of the copy")
	w.Equal(dst.Pull("a", image.Blobs[1]), "layer", "the layer that was deleted")

	w.wait(2 * undelete)
	w.collect()
	w.True(!w.exists("a", image.Blobs[1]), "collected after the copy")
}

// beforeUpload is a driver that tells before an upload begins.
type beforeUpload struct {
	storage.Driver

	tell func()
}

func (d beforeUpload) CreateUpload(ctx context.Context, key string) (storage.Upload, error) {
	d.tell()

	return d.Driver.CreateUpload(ctx, key)
}

// TestCopyInterrupted: a copy that was broken off goes on; what it had sent is not sent again.
func TestCopyInterrupted(t *testing.T) {
	src := storagetest.Open(t, openDirectory)
	for i := range 20 {
		src.Push("a", fmt.Sprint("v", i), fmt.Sprint("layer", i))
	}

	driver, cache := openDirectory(t)
	ctx, stop := context.WithCancel(t.Context())

	var sent atomic.Int32 // several are sent at once

	dst := storagetest.OpenOn(t, beforeUpload{driver, func() {
		if sent.Add(1) == 10 {
			stop()
		}
	}}, cache, storage.Options{Log: zerolog.Nop()})

	from, to := storage.NewStores(src.Store, nil), storage.NewStores(dst.Store, nil)
	first, err := storage.Copy(ctx, from, to, storage.CopyOptions{Exact: true})
	src.Is(err, context.Canceled, "a copy that is broken off")

	second := src.Copy(dst, storage.CopyOptions{Exact: true})
	src.Equal(first.Blobs+second.Blobs, 21, "blobs that were sent, of 21")
	src.Same(dst, "a")
}

// TestCopyLost: a store that is lost is there again, byte for byte.
func TestCopyLost(t *testing.T) {
	src := storagetest.Open(t, openDirectory)
	image := src.Push("a/b", "v1", "layer")
	src.Push("c", "v1", "layer")
	signature := src.Attach("a/b", image.Digest, "test/signature", "note")

	backup := storagetest.Open(t, openDirectory)
	src.Copy(backup, storage.CopyOptions{Exact: true})

	dir := t.TempDir()
	again := openWorld(t, dir)
	backup.Copy(again, storage.CopyOptions{})

	src.Same(again, "a/b")
	src.Same(again, "c")

	for _, dgst := range slices.Concat(image.Blobs, []digest.Digest{image.Digest, signature}) {
		file, err := os.ReadFile(dir + "/" + storage.BlobKey("a/b", dgst))
		src.NoError(err, "read the file")
		src.Equal(digest.FromBytes(file), dgst, "its content")
	}
}
