package storagetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
)

// purge purges, and checks that nothing of it is left.
func (w *World) purge(repo storage.RepoName, dgst digest.Digest, opts storage.PurgeOptions) storage.Purged {
	w.T.Helper()

	done, err := w.Store.Purge(w.T.Context(), repo, dgst, opts, "admin")
	w.NoError(err, "purge")

	for _, name := range done.Repos {
		w.isPurged(name, done.Blobs...)
	}

	return done
}

// isPurged checks that nothing is left of digests in a repository.
func (w *World) isPurged(repo storage.RepoName, dgsts ...digest.Digest) {
	w.T.Helper()

	for _, dgst := range dgsts {
		w.Is(w.Stat(repo, dgst), storage.ErrBlobUnknown, "HEAD of the blob "+dgst.String())

		err := w.Get(repo, dgst.String())
		w.True(errors.Is(err, storage.ErrManifestUnknown) || errors.Is(err, storage.ErrRepoUnknown), "GET of the manifest", err)

		_, err = w.Driver.Stat(w.T.Context(), storage.BlobKey(repo, dgst))
		w.True(err != nil, "the driver has nothing of "+dgst.String())
	}
}

func testPurgeManifest(w *World) {
	secret := w.Push("a", "x", "secret", "shared")
	kept := w.Push("a", "y", "shared")
	w.next()
	w.MustGet("a", "x") // a lease

	done := w.purge("a", secret.Digest, storage.PurgeOptions{})
	w.Equal(fmt.Sprint(done.Tags), "[x]", "tags that are gone")
	w.Equal(len(done.Blobs), 2, "bytes that are gone: the manifest, and the layer that only it had")
	w.next()
	w.isPurged("a", secret.Digest, secret.Blobs[1])
	w.pointsTo("a", "y", kept)

	_, err := w.Store.Undelete(w.T.Context(), "a", secret.Digest, "admin")
	w.Is(err, storage.ErrForgotten, "undelete of what was purged")
	_, err = w.Store.Purge(w.T.Context(), "a", secret.Digest, storage.PurgeOptions{}, "admin")
	w.Is(err, storage.ErrBlobUnknown, "purge again")

	again := w.Push("a", "x", "secret", "shared")
	w.Equal(again.Digest, secret.Digest, "pushed again")
	w.next()
	w.pointsTo("a", "x", again)
}

func testPurgeBlob(w *World) {
	image := w.Push("a", "x", "secret", "other")
	blob := image.Blobs[1]
	w.next()

	_, err := w.Store.Purge(w.T.Context(), "a", blob, storage.PurgeOptions{}, "admin")

	var held *storage.HeldError

	w.Is(err, storage.ErrInUse, "purge of what a manifest names")
	w.True(errors.As(err, &held) && slices.Equal(held.Holders, []digest.Digest{image.Digest}), "it says which", err)
	w.pointsTo("a", "x", image)

	done := w.purge("a", blob, storage.PurgeOptions{Force: true})
	w.Equal(fmt.Sprint(done.Tags, done.Manifests), fmt.Sprintf("[x] [%s]", image.Digest), "what went with it")
	w.next()
	w.isPurged("a", blob, image.Digest)
	w.Pull("a", image.Blobs[2])

	_, err = w.Put(storage.ManifestPut{Repo: "a", Tags: []storage.Tag{"x"}, Body: image.Body})

	var missing *storage.MissingError

	w.True(errors.As(err, &missing), "the manifest cannot be pushed without the blob", err)

	loose := w.Blob("a", "loose")
	w.NoError(w.Stat("a", loose), "HEAD, which is a lease")
	w.purge("a", loose, storage.PurgeOptions{})
}

func testPurgeChild(w *World) {
	one, two := w.Push("a", "x", "one"), w.Push("a", "y", "two")
	index := w.PutIndex("a", "all", one.Digest, two.Digest)
	w.next()

	_, err := w.Store.Purge(w.T.Context(), "a", one.Digest, storage.PurgeOptions{}, "admin")
	w.Is(err, storage.ErrInUse, "purge of what an index names")

	done := w.purge("a", one.Digest, storage.PurgeOptions{Force: true})
	w.Equal(len(done.Manifests), 2, "manifests that are gone")
	w.next()
	w.isPurged("a", one.Digest, one.Blobs[1], index)
	w.pointsTo("a", "y", two)
}

func testPurgeDeleted(w *World) {
	image := w.Push("a", "x", "secret")
	w.Push("a", "y", "other")
	w.NoError(w.Delete("a", image.Digest.String(), storage.Precondition{}), "delete the manifest")
	w.next()
	w.purge("a", image.Blobs[1], storage.PurgeOptions{})
	w.next()

	_, err := w.Store.Undelete(w.T.Context(), "a", image.Digest, "admin")
	w.Is(err, storage.ErrForgotten, "undelete of what had the purged blob")
	w.MustGet("a", "y")
}

func testPurgeEverywhere(w *World) {
	const large = 100 << 10 // a bucket keeps it once for all

	secret := strings.Repeat("s", large)
	image := w.Push("a", "x", secret)
	w.Push("b/c", "y", secret)
	blob := w.Blob("d", secret) // where nothing was ever committed
	w.next()

	done := w.purge("a", image.Digest, storage.PurgeOptions{})
	w.Equal(fmt.Sprint(done.Others), "[b/c]", "who holds the manifest as well")
	w.Pull("b/c", blob)

	_, err := w.Store.Purge(w.T.Context(), "d", blob, storage.PurgeOptions{Everywhere: true}, "admin")
	w.Is(err, storage.ErrInUse, "purge of what a manifest elsewhere names")
	w.Pull("d", blob)
	w.next()

	done = w.purge("d", blob, storage.PurgeOptions{Everywhere: true, Force: true})
	w.Equal(fmt.Sprint(done.Repos, done.Others), "[d b/c] []", "where it was removed, and who still has it")
	w.next()
	w.isPurged("a", blob)
	w.isPurged("b/c", blob, image.Digest)
	w.isPurged("d", blob)

	w.Push("e", "x", secret)
	w.Push("f", "y", secret)
	w.next()
	done = w.purge("e", blob, storage.PurgeOptions{Force: true})
	w.Equal(fmt.Sprint(done.Others), "[f]", "who holds it as well")
	w.next()
	done = w.purge("e", blob, storage.PurgeOptions{Everywhere: true, Force: true})
	w.Equal(fmt.Sprint(done.Repos), "[f]", "where it was removed, once one knows who holds it")
	w.next()
	w.isPurged("f", blob)

	for info, err := range w.Driver.List(w.T.Context(), "", "") {
		w.NoError(err, "list")
		w.True(info.Size < large, "no object of that size is left", info.Key)
	}
}
