//go:build remote

package s3_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// longer is a replica that remembers deleted manifests for longer than deleted blobs, and has
// clients read blobs from the bucket.
func (h *heap) longer() *collecting {
	h.T.Helper()

	opts := h.opts
	opts.Endpoint = h.bench.server.Endpoint
	bucket := mustOpen(h.T, opts)

	w := storagetest.OpenOn(h.T, bucket, storage.NoCache{}, storage.Options{
		Log: zerolog.Nop(), Now: opts.Now, Redirect: true, GC: storage.GC{Delay: gcDelay, Undelete: 7 * 24 * time.Hour},
	})

	return &collecting{World: w, bucket: bucket, heap: h}
}

// fetched is what a client gets that follows a redirect.
func fetched(w *storagetest.World, repo storage.RepoName, dgst digest.Digest) string {
	w.T.Helper()

	url, err := w.Store.BlobURL(w.T.Context(), repo, dgst)
	w.NoError(err, "URL")

	request, err := http.NewRequestWithContext(w.T.Context(), http.MethodGet, url, nil)
	w.NoError(err, "request")

	answer, err := http.DefaultClient.Do(request)
	w.NoError(err, "follow")
	defer answer.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()

	body, err := io.ReadAll(answer.Body)
	w.NoError(err, "read")
	w.Equal(answer.StatusCode, http.StatusOK, "answer to a redirected pull")

	return string(body)
}

// TestUndeleteWithBlobPushedAgain: an image that is brought back, of which a blob was deleted
// and pushed again, is read from where that is now, and so are others that name it.
func TestUndeleteWithBlobPushedAgain(t *testing.T) {
	b := newBench(t)

	for name, layer := range map[string]string{"small": "small", "shared": shared} {
		t.Run(name, func(t *testing.T) {
			h := newHeap(t, b)
			w := h.longer()
			dgst := digest.FromString(layer)

			image := w.Push("a", "x", layer)
			w.NoError(w.Delete("a", string(image.Digest), storage.Precondition{}), "delete the image")
			w.NoError(w.DeleteBlob("a", dgst), "delete the layer")
			w.Push("a", "other", layer, "more")
			w.Equal(fetched(w.World, "a", dgst), layer, "the layer of the other")

			_, err := w.Store.Undelete(t.Context(), "a", image.Digest, "")
			w.NoError(err, "bring the image back")
			w.Equal(fetched(w.World, "a", dgst), layer, "the layer")

			again := h.longer()
			w.NoError(w.Delete("a", "other", storage.Precondition{}), "delete the other")
			w.Equal(fetched(again.World, "a", dgst), layer, "the layer, elsewhere")
		})
	}
}

// TestUndeleteWithoutBlob: an image of which a blob was deleted comes back only with bytes that
// the repository holds, however long ago that was.
func TestUndeleteWithoutBlob(t *testing.T) {
	h := newHeap(t, newBench(t))
	w := h.longer()

	image := w.Push("a", "x", shared)
	w.Push("b", "x", shared)
	w.NoError(w.Delete("a", string(image.Digest), storage.Precondition{}), "delete the image")
	w.NoError(w.DeleteBlob("a", sharedDigest), "delete the layer")

	for range 2 {
		h.wait(25 * time.Hour)
		w.collect()
	}

	_, err := w.Store.Undelete(t.Context(), "a", image.Digest, "")
	w.Is(err, storage.ErrDamaged, "bring the image back")
}
