package storage_test

import (
	"testing"

	"zotregistry.io/zot/pkg/storage/storagetest"
)

func TestCopyOnMemory(t *testing.T) { storagetest.TestCopy(t, openMemory, openMemory) }
