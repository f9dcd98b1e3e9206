package storage_test

import (
	"errors"
	"testing"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// TestPurgeThatCannotLook: that a file cannot be looked at does not mean that nothing is there.
func TestPurgeThatCannotLook(t *testing.T) {
	memory := storagetest.NewMemory()
	fault := storagetest.NewFault(memory.Driver())
	w := openProcess(t, fault)
	w.Push("b", "t", "secret") // "a" has it without a manifest
	secret := w.Blob("a", "secret")

	fault.FailAt(1, storagetest.NotDone, func(name string) bool { return name == "stat "+storage.BlobKey("a", secret) })

	_, err := w.Store.Purge(t.Context(), "a", secret, storage.PurgeOptions{Everywhere: true, Force: true}, "admin")
	w.True(err != nil && !errors.Is(err, storage.ErrBlobUnknown), "a purge that cannot look", err)
	w.Equal(fault.Hit(), "stat "+storage.BlobKey("a", secret), "what failed")

	done, err := w.Store.Purge(t.Context(), "a", secret, storage.PurgeOptions{Everywhere: true, Force: true}, "admin")
	w.NoError(err, "the next one")
	w.Equal(len(done.Repos), 2, "repositories that it is purged from")
	w.Is(w.Stat("a", secret), storage.ErrBlobUnknown, "in the one")
	w.Is(w.Stat("b", secret), storage.ErrBlobUnknown, "in the other")
	mustClose(w)
}
