package storage_test

import (
	"testing"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// TestWrongAnswerOfTheCache: a key that it names is that of another blob, of the same
// size. The bytes that were pushed are kept, and the answer is forgotten.
func TestWrongAnswerOfTheCache(t *testing.T) {
	cache := storagetest.NewMapCache()
	w := storagetest.OpenOn(t, storagetest.NewMemory().Driver(), cache, quiet)
	other := storage.BlobKey("a", w.Blob("a", "AAAA"))
	w.NoError(cache.PutBlob(t.Context(), digestOf("BBBB"), other), "a wrong entry")

	dgst := w.Blob("b", "BBBB")
	w.Equal(w.Pull("b", dgst), "BBBB", "its bytes")

	has, err := cache.HasBlob(t.Context(), dgst, other)
	w.NoError(err, "look at the cache")
	w.True(!has, "the wrong answer is forgotten")
	w.Equal(len(w.Store.FindBlob(t.Context(), "c", dgst)), 1, "and the right one is known")
}

// TestCacheNamesWhatIsNotThere: bytes that went, or that are damaged, are not linked.
func TestCacheNamesWhatIsNotThere(t *testing.T) {
	memory, cache := storagetest.NewMemory(), storagetest.NewMapCache()
	w := storagetest.OpenOn(t, memory.Driver(), cache, quiet)
	dgst := w.Blob("gone", "content")
	w.Blob("short", "content")
	w.NoError(memory.Driver().Delete(t.Context(), storage.BlobKey("gone", dgst)), "delete")
	w.NoError(errorOf(memory.Driver().Put(t.Context(), storage.BlobKey("short", dgst), []byte("cont"))), "cut short")
	w.Blob("b", "content")
	w.Equal(w.Pull("b", dgst), "content", "its bytes")
}
