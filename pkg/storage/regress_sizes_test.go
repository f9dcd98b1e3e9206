package storage_test

import (
	"testing"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// isDamagedUntilPushed checks that a layer of tag t is not served, and that the client
// that pushes it again heals it.
func (l *layout) isDamagedUntilPushed(repo storage.RepoName, layer string) {
	l.t.Helper()

	dgst := digestOf(layer)

	_, err := l.store.OpenBlob(l.t.Context(), repo, dgst, storage.Whole)
	l.Is(err, storage.ErrDamaged, "a pull of the layer")
	l.Is(l.Stat(repo, dgst), storage.ErrBlobUnknown, "a client that asks is told to push it")
	l.Push(repo, "t", layer)
	l.Equal(l.Pull(repo, dgst), layer, "then it is whole")
}

// TestAdoptedBlobOfWrongSize: another program's index.json names a layer that was cut
// short, or is longer than it should be.
func TestAdoptedBlobOfWrongSize(t *testing.T) {
	for name, stored := range map[string]string{
		"cut short": "their", "empty": "", "too long": "their layer and more",
	} {
		t.Run(name, func(t *testing.T) {
			l := newLayout(t)
			entry := l.image("their/app", "t", "their layer")
			l.write("their/app/index.json", jsonOf(map[string]any{"schemaVersion": 2, "manifests": []any{entry}}))
			l.write(storage.BlobKey("their/app", digestOf("their layer")), stored)
			l.open()
			l.isDamagedUntilPushed("their/app", "their layer")
			l.NoError(l.Get("their/app", "t"), "the manifest is good")
		})
	}
}

// TestAdoptedManifestOfWrongSize: the manifest itself is not what its name says, so it
// is not taken.
func TestAdoptedManifestOfWrongSize(t *testing.T) {
	l := newLayout(t)
	good, bad := l.image("a", "good", "1"), l.image("a", "bad", "2")
	l.write("a/index.json", jsonOf(map[string]any{"schemaVersion": 2, "manifests": []any{good, bad}}))
	l.write(storage.BlobKey("a", digestOf(manifestOf("2"))), `{"schemaVersion":2`)
	l.open()
	l.Equal(l.Tags("a", "", -1), "good", "tags")
}

// TestRebuiltBlobOfWrongSize: the same, when the checkpoint is lost and the state is
// made anew from the manifests.
func TestRebuiltBlobOfWrongSize(t *testing.T) {
	l := newLayout(t)
	l.open()
	image := l.Push("a", "t", "a long layer")
	l.close()
	l.memory.DamageCheckpoints("a/")
	l.write(storage.BlobKey("a", image.Blobs[1]), "a lo")
	l.open()
	l.isDamagedUntilPushed("a", "a long layer")
}

// TestShortBlobThatNobodyNames: a file system may leave an empty file of a blob that
// was renamed and never flushed. No manifest says how long it should be, until one
// comes: then the client is told to push the blob, and a HEAD says the same.
func TestShortBlobThatNobodyNames(t *testing.T) {
	l := newLayout(t)
	l.open()
	l.Blob("a", "{}")
	dgst := l.Blob("a", "a long layer")
	l.write(storage.BlobKey("a", dgst), "")
	isMissing(l.World, tryPut(l.World, "a", "t", "a long layer"), "the manifest")
	l.Is(l.Stat("a", dgst), storage.ErrBlobUnknown, "a client that asks is told to push it")
	l.Blob("a", "a long layer")
	l.NoError(tryPut(l.World, "a", "t", "a long layer"), "the manifest again")
	l.Equal(l.Pull("a", dgst), "a long layer", "its bytes")
}

// TestAdoptionDoesNotGuessSizes: a layer that cannot be looked at while its manifest is
// adopted is looked at again; one that was cut short is not served for that.
func TestAdoptionDoesNotGuessSizes(t *testing.T) {
	l := newLayout(t)
	entry := l.image("a", "t", "their layer")
	layer := storage.BlobKey("a", digestOf("their layer"))
	l.write("a/index.json", jsonOf(map[string]any{"schemaVersion": 2, "manifests": []any{entry}}))
	l.write(layer, "their")

	fault := storagetest.NewFault(l.memory.Driver())
	fault.FailAt(1, storagetest.NotDone, func(name string) bool { return name == "stat "+layer })
	l.openOn(fault) // what runs in the background may be the first to look

	_, _, err := l.store.ListTags(t.Context(), "a", "", -1)
	t.Log("while it cannot be looked at:", err)
	l.Equal(fault.Hit(), "stat "+layer, "what failed")
	l.Equal(l.Tags("a", "", -1), "t", "the next request")
	l.isDamagedUntilPushed("a", "their layer")
}
