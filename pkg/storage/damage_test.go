package storage_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
)

// A layout that is copied into the root has its index.json before its blobs.
func TestAdoptsALayoutThatIsBeingCopied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLayout(t)
		entry := l.image("elsewhere", "v1", "layer")
		l.write("a/index.json", jsonOf(map[string]any{"schemaVersion": 2, "manifests": []any{entry}}))
		l.open()
		l.Equal(l.Tags("a", "", -1), "", "no blob is there yet")
		time.Sleep(time.Minute) // checkpoints are written
		l.Equal(len(l.entries("a")), 1, "the entry is still in index.json")

		l.image("a", "v1", "layer")
		time.Sleep(time.Minute)
		l.Equal(l.Tags("a", "", -1), "v1", "the blobs have come")
		checkImage(l.World, "a", l.MustGet("a", "v1"))
		time.Sleep(time.Minute)
		l.Equal(len(l.entries("a")), 1, "and is there once")
	})
}

// What zot cannot use is of use to others.
func TestKeepsEntriesOfOthers(t *testing.T) {
	l := newLayout(t)
	l.write("a/index.json", jsonOf(map[string]any{"schemaVersion": 2, "manifests": []any{
		l.image("a", "docker.io/library/x:latest", "named by others"),
		l.image("a", "good", "layer"),
		map[string]any{"mediaType": "application/vnd.oci.artifact.manifest.v1+json", "digest": digest.FromString("x"), "size": 1},
		map[string]any{"mediaType": "x", "digest": "md5:d41d8cd98f00b204e9800998ecf8427e", "size": 0},
		"not even an object",
	}}))
	l.open()
	l.Equal(l.Tags("a", "", -1), "good", "what is good is served")
	l.Push("a", "ours", "ours")
	l.close()
	l.Equal(len(l.entries("a")), 6, "all that was there is still there")

	// A tool moves a tag to something that cannot be read.
	l.open()

	index := l.index("a")
	moved := filtered(index["manifests"].([]any), "good")
	index["manifests"] = append(moved, map[string]any{
		"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest.FromString("gone"), "size": 4,
		"annotations": map[string]string{"org.opencontainers.image.ref.name": "good"},
	})
	l.write("a/index.json", jsonOf(index))
	l.Equal(l.Tags("a", "", -1), "good ours", "the tag is not lost")
}

// index.json is written again when it was deleted, or replaced by an old copy.
func TestIndexComesBack(t *testing.T) {
	l := newLayout(t)
	l.open()
	l.Push("a", "one", "1")
	l.close()

	old := jsonOf(l.index("a"))

	l.open()
	l.Push("a", "two", "2")
	l.close()
	l.write("a/index.json", old)
	l.open()
	l.Equal(l.Tags("a", "", -1), "one two", "an old copy takes nothing away")
	l.close()
	l.Equal(len(l.entries("a")), 2, "and is replaced")
	l.open()
	l.NoError(l.Driver.Delete(t.Context(), "a/index.json"), "delete it")
	l.Equal(l.Tags("a", "", -1), "one two", "that changes nothing")
	l.close()
	l.Equal(len(l.entries("a")), 2, "it is back")
}

// A byte that flipped is found, at the latest, when the same blob is pushed again.
func TestPushHealsFlippedByte(t *testing.T) {
	l := newLayout(t)
	l.open()
	image := l.Push("a", "t", "helloworld")
	l.write(storage.BlobKey("a", image.Blobs[1]), "HELLOWORLD")
	l.Blob("a", "helloworld")
	l.Equal(l.Pull("a", image.Blobs[1]), "helloworld", "the bytes that were pushed")
	l.Blob("b", "helloworld")
	l.Equal(l.Pull("b", image.Blobs[1]), "helloworld", "and what is linked to them")
}
