package local_test

import (
	"testing"

	"zotregistry.io/zot/pkg/storage"
)

// TestLongChains: indexes that name each other, and referrers of referrers, hundreds of them, are
// kept as long as a tag leads to the first, and then go from there.
func TestLongChains(t *testing.T) {
	const length = 500

	w := openGarbage(t)
	image := w.Push("a", "image", "layer").Digest
	index, subject := image, image

	for range length {
		index = w.PutIndex("a", "", index)
		subject = w.Attach("a", subject, "x/y", "")
	}

	top := w.PutIndex("a", "top", index)
	w.NoError(w.Delete("a", "image", storage.Precondition{}), "delete")
	w.wait(2 * undelete)

	done, err := w.Store.Collect(t.Context())
	w.NoError(err, "collect")
	w.Equal(done.Manifests, 0, "manifests that go while a tag leads to them")

	w.NoError(w.Delete("a", "top", storage.Precondition{}), "delete")

	w.wait(2 * undelete)

	done, err = w.Store.Collect(t.Context())
	w.NoError(err, "collect")
	w.True(done.Manifests > 0, "manifests that go then")
	w.Is(w.Get("a", top.String()), storage.ErrManifestUnknown, "the first index")
	w.NoError(w.Get("a", image.String()), "the image, until what names it is gone")
}
