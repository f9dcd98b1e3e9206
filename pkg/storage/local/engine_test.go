package local_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/local"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

func openDirectory(t *testing.T) (storage.Driver, storage.Cache) {
	t.Helper()

	root, err := local.OpenRoot(t.Context(), local.RootOptions{Path: t.TempDir(), Commit: true, Log: zerolog.Nop()})
	if err != nil {
		t.Fatalf("open root: %v", err)
	}

	return root, storagetest.NewMapCache()
}

func TestStoreOnDirectory(t *testing.T) { storagetest.TestStore(t, openDirectory) }

func TestRecoveryOnDirectory(t *testing.T) {
	storagetest.TestRecovery(t, func(t *testing.T) (storage.Driver, func() storage.Driver) {
		dir := t.TempDir()
		open := func() storage.Driver {
			root, err := local.OpenRoot(t.Context(), local.RootOptions{Path: dir, Commit: true, Log: zerolog.Nop()})
			if err != nil {
				t.Fatalf("open root: %v", err)
			}

			return root
		}

		return open(), open
	})
}

// What someone takes away from a journal in use is written again before the next
// push is acknowledged.
func TestJournalIsDamagedWhileInUse(t *testing.T) {
	for name, damage := range map[string]func(journal string) error{
		"cut short": func(journal string) error { return os.Truncate(journal, 100) },
		"deleted":   os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			w := openWorld(t, dir)
			w.Push("a", "one", "1")
			w.Push("a", "two", "2")

			journals, err := filepath.Glob(filepath.Join(dir, "a", ".zot", "journal-*"))
			if err != nil || len(journals) != 1 {
				t.Fatalf("journals: %q, %v", journals, err)
			}

			if err := damage(journals[0]); err != nil {
				t.Fatal(err)
			}

			w.Push("a", "three", "3")

			again := openWorld(t, copyOf(t, dir)) // as kill -9 leaves it
			again.Equal(again.Tags("a", "", -1), "one three two", "tags afterwards")
		})
	}
}

func TestTempDirectoryIsRemovedWhileInUse(t *testing.T) {
	dir := t.TempDir()
	w := openWorld(t, dir)
	w.Push("a", "one", "1")

	if err := os.RemoveAll(filepath.Join(dir, "_tmp")); err != nil {
		t.Fatal(err)
	}

	w.Push("a", "two", "2")
}

func openWorld(t *testing.T, dir string) *storagetest.World {
	t.Helper()

	root, err := local.OpenRoot(t.Context(), local.RootOptions{Path: dir, Commit: true, Log: zerolog.Nop()})
	if err != nil {
		t.Fatalf("open root: %v", err)
	}

	return storagetest.OpenOn(t, root, storagetest.NewMapCache(), storage.Options{Log: zerolog.Nop()})
}

func copyOf(t *testing.T, dir string) string {
	t.Helper()

	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}

	return to
}

// A checkpoint that is lost, by itself or to garbage, takes no tag with it: index.json
// and the manifests have them.
func TestNewestCheckpointIsLost(t *testing.T) {
	for name, lose := range map[string]func(checkpoint string) error{
		"deleted": os.Remove,
		"garbled": func(checkpoint string) error { return os.WriteFile(checkpoint, []byte("garbage"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()

			for _, tag := range []string{"v1", "v2", "v3"} {
				session(t, dir, func(w *storagetest.World) { w.Push("a", tag, tag) })
			}

			checkpoints, err := filepath.Glob(filepath.Join(dir, "a", ".zot", "checkpoint-*"))
			if err != nil || len(checkpoints) != 2 {
				t.Fatalf("checkpoints: %q, %v", checkpoints, err)
			}

			if err := lose(checkpoints[1]); err != nil {
				t.Fatal(err)
			}

			session(t, dir, func(w *storagetest.World) {
				w.Equal(w.Tags("a", "", -1), "v1 v2 v3", "tags")
				w.Push("a", "v4", "v4")
			})
			session(t, dir, func(w *storagetest.World) { w.Equal(w.Tags("a", "", -1), "v1 v2 v3 v4", "tags in the end") })
		})
	}
}

// session is the life of one process.
func session(t *testing.T, dir string, work func(w *storagetest.World)) {
	t.Helper()
	t.Run("session", func(t *testing.T) { work(openWorld(t, dir)) })
}
