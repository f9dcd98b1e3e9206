//go:build remote

package s3_test

import (
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// TestPushBesideDamage: bytes that a client has pushed are not those of a damaged blob that
// the cache knows from another repository.
func TestPushBesideDamage(t *testing.T) {
	b := newBench(t)

	for name, dedupe := range map[string]bool{"dedupe": true, "no dedupe": false} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t, b)
			opts := p.opts
			opts.Dedupe = dedupe

			cache := storagetest.NewMapCache()
			replica := func() *storagetest.World {
				return storagetest.OpenOn(t, mustOpen(t, opts), cache, storage.Options{Log: zerolog.Nop()})
			}

			replica().Push("a", "x", bigLayer)
			p.replica(t, dedupe).Overwrite("a", digest.FromString(bigLayer), bigLayer[:1000])

			w := replica()
			w.Push("b", "x", bigLayer)
			w.Equal(len(w.Pull("b", digest.FromString(bigLayer))), len(bigLayer), "length of what was pushed")
			w.True(p.replica(t, dedupe).Pull("b", digest.FromString(bigLayer)) == bigLayer, "the layer, elsewhere")
		})
	}
}

// TestHealDeleted: a blob that a replica knows as damaged, and that was deleted at another one
// a moment ago, is there for good when it is pushed again.
func TestHealDeleted(t *testing.T) {
	b := newBench(t)

	for name, layer := range map[string]string{"small": "small", "shared": shared} {
		t.Run(name, func(t *testing.T) {
			h := newHeap(t, b)
			image := h.Push("a", "x", layer)
			dgst := digest.FromString(layer)

			other := h.fresh()
			other.Overwrite("a", dgst, layer+"!")
			notice(other.World, layer)

			h.NoError(h.Delete("a", string(image.Digest), storage.Precondition{}), "delete the image")
			h.NoError(h.DeleteBlob("a", dgst), "delete the layer")

			other.Blob("a", layer)
			h.NoError(h.fresh().Stat("a", dgst), "stat")
			h.Equal(h.fresh().Pull("a", dgst), layer, "the layer")
		})
	}
}

// TestMissing: where a pull has found that a blob is missing in the bucket, clients are asked to
// push it, and that heals it.
func TestMissing(t *testing.T) {
	b := newBench(t)

	for name, lost := range map[string]struct{ layer, object string }{
		"small":  {"small", "in/a/own."},
		"shared": {shared, "data.0"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHeap(t, b)
			h.Push("a", "x", lost.layer)
			(&checkedBucket{bench: b, t: t, opts: h.opts}).remove(dir(lost.layer) + lost.object)

			w, dgst := h.fresh(), digest.FromString(lost.layer)
			_, err := w.Store.OpenBlob(t.Context(), "a", dgst, storage.Whole)
			w.Is(err, storage.ErrBlobUnknown, "pull")
			w.Is(w.Stat("a", dgst), storage.ErrBlobUnknown, "a client is asked to push it")

			w.Push("a", "x", lost.layer)
			w.Equal(w.Pull("a", dgst), lost.layer, "the layer, here")
			w.Equal(h.fresh().Pull("a", dgst), lost.layer, "the layer, elsewhere")
		})
	}
}
