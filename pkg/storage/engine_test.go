package storage_test

import (
	"testing"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

func openMemory(*testing.T) (storage.Driver, storage.Cache) {
	return storagetest.NewMemory().Driver(), storagetest.NewMapCache()
}

func TestStoreOnMemory(t *testing.T) { storagetest.TestStore(t, openMemory) }

func TestRecoveryOnMemory(t *testing.T) {
	storagetest.TestRecovery(t, func(*testing.T) (storage.Driver, func() storage.Driver) {
		memory := storagetest.NewMemory()

		return memory.Driver(), memory.Driver
	})
}
