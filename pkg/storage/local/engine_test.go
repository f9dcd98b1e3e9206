package local_test

import (
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
