package local_test

import (
	"context"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/local"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// slowToFree is a directory on a disk that takes as long to free bytes as a test wants. To
// take them away takes no time.
type slowToFree struct {
	*local.Root

	freeing chan string   // the keys, as it begins
	free    chan struct{} // closed = it is quick from now on
}

func (s slowToFree) Remove(ctx context.Context, key string) (func() error, error) {
	finish, err := s.Root.Remove(ctx, key)

	return func() error {
		s.freeing <- key
		<-s.free

		return finish()
	}, err
}

// TestNobodyWaitsForGC: while GC frees the bytes of a blob, for however long, all that clients
// can ask of the repository, and of that blob, is answered. Whatever waited would wait for ever.
func TestNobodyWaitsForGC(t *testing.T) {
	dir := t.TempDir()
	root, err := local.OpenRoot(t.Context(), local.RootOptions{Path: dir, Commit: true, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}

	slow := slowToFree{root, make(chan string), make(chan struct{})}

	w, err := openGarbageOn(t, dir, slow, storagetest.NewMapCache())
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { w.NoError(w.Store.Close(context.Background()), "close") })

	w.Push("a", "keep", "kept")
	kept, loose := digest.FromString("kept"), w.Blob("a", "loose")
	w.wait(2 * delay)

	collected := make(chan error)

	go func() {
		_, err := w.Store.Collect(context.WithoutCancel(t.Context()))
		collected <- err
	}()

	w.Equal(<-slow.freeing, storage.BlobKey("a", loose), "what is being freed")

	w.Is(w.Stat("a", loose), storage.ErrBlobUnknown, "HEAD of it")
	w.Equal(w.Blob("a", "loose"), loose, "a push of it")
	w.Equal(w.Pull("a", loose), "loose", "a pull of it")
	w.Equal(w.Pull("a", kept), "kept", "a pull")
	w.NoError(w.Get("a", "keep"), "GET of a manifest")
	w.Push("a", "new", "loose", "another")
	w.NoError(w.Delete("a", "keep", storage.Precondition{}), "deletion of a tag")
	w.NoError(w.DeleteBlob("a", w.Blob("a", "third")), "deletion of a blob")
	w.Equal(w.Tags("a", "", -1), "new", "tags")

	close(slow.free)
	w.NoError(<-collected, "collect")
	w.Equal(w.Pull("a", loose), "loose", "a pull of what came again")
}
