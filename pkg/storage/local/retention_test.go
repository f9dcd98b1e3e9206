package local_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"zotregistry.io/zot/pkg/storage"
)

// TestPullTimesOfDirectory: pull times lie in the repository, survive a restart, and go with
// it.
func TestPullTimesOfDirectory(t *testing.T) {
	dir := t.TempDir()
	policy := storage.Policy{
		Repositories: []string{"a/*"}, DeleteUntagged: true,
		KeepTags: []storage.KeepTags{{Keep: storage.Keep{PulledWithin: 24 * time.Hour}}},
	}

	w := openGarbageIn(t, dir, policy)
	w.Push("a/b", "pulled", "1")
	w.Push("a/b", "not", "2")
	w.wait(20 * time.Hour)
	w.MustGet("a/b", "pulled")
	w.NoError(w.Store.Close(t.Context()), "close")

	ahead := w.ahead.Load()
	w = openGarbageIn(t, dir, policy)
	w.wait(time.Duration(ahead) + 5*time.Hour)
	w.collect()
	w.Equal(w.Tags("a/b", "", -1), "pulled", "tags after a restart")

	w.wait(24 * time.Hour)
	w.collect() // the tag
	w.wait(delay)
	w.collect() // the manifest
	w.wait(undelete)
	w.collect() // all that can be brought back
	w.Equal(w.Repos("", -1), "", "repositories")

	if _, err := os.Stat(filepath.Join(dir, "a")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory of the repository: %v", err)
	}

	w.NoError(w.Store.Close(t.Context()), "close")
}
