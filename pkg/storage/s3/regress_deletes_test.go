//go:build remote

package s3_test

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/internal/faultproxy"
	"zotregistry.io/zot/pkg/storage"
)

// twoWays returns a replica whose requests a test can hold, and one that goes past the proxy.
func twoWays(t *testing.T) (b *bench, held, direct *requestRun) {
	t.Helper()

	b = newBench(t)
	held = &requestRun{bench: b, opts: b.proxied()}
	direct = &requestRun{bench: b, opts: held.opts}
	direct.opts.Endpoint = b.server.Endpoint

	return b, held, direct
}

// TestBlobDeletedUnderManifest: a blob was deleted, and its membership is about to go, when a
// manifest that names it is pushed. It is refused, or the blob is there.
func TestBlobDeletedUnderManifest(t *testing.T) {
	b, held, direct := twoWays(t)
	deleter, pusher := held.replica(t), direct.replica(t)

	pusher.Push("a", "old", "x")
	layer := pusher.Blob("a", "layer of it")

	hold := b.proxy.Inject(faultproxy.Rule{Kind: faultproxy.Hold, Times: 1, Match: faultproxy.On(faultproxy.DeleteObject)})
	deleted := make(chan error, 1)

	go func() { deleted <- deleter.DeleteBlob("a", layer) }()
	pusher.NoError(hold.Await(t.Context(), 1), "wait for the deletion")

	body, dgst := pusher.ImageBody(digest.FromString("{}"), layer)
	_, err := pusher.Put(storage.ManifestPut{Repo: "a", Tags: []storage.Tag{"v1"}, Body: body})

	hold.Release()
	pusher.NoError(<-deleted, "delete")

	if err == nil {
		third := direct.replica(t)
		third.NoError(third.Get("a", string(dgst)), "manifest")
		third.Equal(third.Pull("a", layer), "layer of it", "layer of an image that was acknowledged")
	}
}

// TestManifestBytesDeleted: the bytes of a manifest are there, its record is not, when
// somebody deletes that digest as a blob.
func TestManifestBytesDeleted(t *testing.T) {
	b, held, direct := twoWays(t)
	pusher, deleter := held.replica(t), direct.replica(t)

	pusher.Push("a", "old", "x")
	body, dgst := pusher.ImageBody(digest.FromString("{}"))

	hold := b.proxy.Inject(faultproxy.Rule{Kind: faultproxy.Hold, Times: 1, Match: func(r faultproxy.Request) bool {
		return r.Operation == faultproxy.PutObject && strings.HasSuffix(r.Key, ".zot/head")
	}})
	put := make(chan error, 1)

	go func() {
		_, err := pusher.Put(storage.ManifestPut{Repo: "a", Tags: []storage.Tag{"v1"}, Body: body})
		put <- err
	}()

	deleter.NoError(hold.Await(t.Context(), 1), "wait for the commit")
	deleter.NoError(deleter.DeleteBlob("a", dgst), "delete")
	hold.Release()

	if err := <-put; err == nil {
		third := direct.replica(t)
		third.NoError(third.Get("a", "v1"), "manifest that was acknowledged")
	}
}
