package local_test

import (
	"os"
	"path/filepath"
	"testing"

	"zotregistry.io/zot/pkg/storage"
)

// TestReadBringsBack: a file that somebody has removed is brought back from another repository
// by who reads, if its bytes are as many as they should be; without one it is missing.
func TestReadBringsBack(t *testing.T) {
	w := openGarbage(t)
	layer := w.Push("a", "x", "layer").Blobs[1]
	w.Push("b", "x", "layer")

	lose := func(repo storage.RepoName) {
		w.NoError(os.Remove(filepath.Join(w.dir, storage.BlobKey(repo, layer))), "remove")
	}

	lose("a")
	w.Equal(w.Pull("a", layer), "layer", "GET")
	w.True(w.exists("a", layer), "the file is there again")

	lose("b")
	w.NoError(w.Stat("b", layer), "HEAD")
	w.True(w.exists("b", layer), "the file is there again")

	lose("a")
	w.Overwrite("b", layer, "cut")
	w.Is(w.Stat("a", layer), storage.ErrBlobUnknown, "HEAD, where the other is too short")

	lose("b")

	_, err := w.Store.OpenBlob(t.Context(), "b", layer, storage.Whole)
	w.Is(err, storage.ErrBlobUnknown, "GET, where no other has it")
	w.Equal(w.Blob("a", "layer"), layer, "a push")
	w.Equal(w.Pull("b", layer), "layer", "GET, where that has it")
}

// TestReadBringsNothingBack: what was deleted, or that no manifest names, stays away.
func TestReadBringsNothingBack(t *testing.T) {
	w := openGarbage(t)
	layer := w.Push("a", "x", "layer").Blobs[1]
	loose := w.Blob("b", "layer")

	w.NoError(os.Remove(filepath.Join(w.dir, storage.BlobKey("b", loose))), "remove")
	w.Is(w.Stat("b", loose), storage.ErrBlobUnknown, "HEAD of what no manifest names")

	w.Blob("b", "layer")
	w.NoError(w.DeleteBlob("b", loose), "delete")
	w.Is(w.Stat("b", loose), storage.ErrBlobUnknown, "HEAD of what was deleted")
	w.Equal(w.Pull("a", layer), "layer", "the other")
}
