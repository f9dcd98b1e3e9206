package storagetest

import (
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
)

// Opener opens what a store is made of. The store closes both.
type Opener func(t *testing.T) (storage.Driver, storage.Cache)

// TestStore is the contract of storage.go, on the engine over a driver.
func TestStore(t *testing.T, open Opener) {
	t.Helper()

	for name, test := range map[string]func(*World){
		"push and pull":      testPushPull,
		"manifests":          testManifests,
		"preconditions":      testPreconditions,
		"rights":             testRights,
		"deletes":            testDeletes,
		"tags":               testTags,
		"catalog":            testCatalog,
		"uploads":            testUploads,
		"uploads that fail":  testUploadsThatFail,
		"mounts":             testMounts,
		"dedupe":             testDedupe,
		"referrers":          testReferrers,
		"damage":             testDamage,
		"names from clients": testNames,
		"notes":              testNotes,
	} {
		t.Run(name, func(t *testing.T) { test(Open(t, open)) })
	}

	for name, test := range recoveryCases {
		t.Run(name, func(t *testing.T) { test(Open(t, open)) })
	}
}

func testPushPull(w *World) {
	image := w.Push("a/b", "latest", "layer one", "layer two")

	got := w.MustGet("a/b", "latest")
	w.Equal(string(got.Body), string(image.Body), "the manifest is what was pushed")
	w.Equal(got.Digest, image.Digest, "its digest")
	w.Equal(w.Pull("a/b", image.Blobs[1]), "layer one", "a layer is what was pushed")
	w.Equal(w.Pull("a/b", image.Blobs[2]), "layer two", "the other layer too")

	part, err := w.Store.OpenBlob(w.T.Context(), "a/b", image.Blobs[1], storage.Range{Offset: 6, Length: 2})
	w.NoError(err, "open a range")
	w.Equal(w.Read(part), "on", "a range is that part")

	_, err = w.Store.OpenBlob(w.T.Context(), "a/b", image.Blobs[1], storage.Range{Offset: 100, Length: 2})
	w.Is(err, storage.ErrRange, "a range behind the end")

	w.Push("a/b", "latest", "layer one")
	w.NotEqual(w.MustGet("a/b", "latest").Digest, image.Digest, "a tag moves")
	w.Equal(w.MustGet("a/b", image.Digest.String()).Digest, image.Digest, "the manifest it pointed to stays")
}

func testManifests(w *World) {
	image := w.Push("a", "one", "x")
	index := w.PutIndex("a", "all", image.Digest)
	w.Equal(w.MustGet("a", "all").MediaType, mediaTypeIndex, "an index keeps its type")

	nested := w.PutIndex("a", "nested", index)
	w.Equal(w.MustGet("a", nested.String()).Digest, nested, "an index of indexes")

	_, err := w.Put(storage.ManifestPut{Repo: "a", Tags: []storage.Tag{"t"}, Body: []byte(`{"schemaVersion":2`)})
	w.IsManifestError(err, "not JSON")

	_, err = w.Put(storage.ManifestPut{Repo: "a", Tags: []storage.Tag{"t"}, Body: []byte(`{"schemaVersion":2}`)})
	w.IsManifestError(err, "no config")

	body, _ := w.ImageBody(w.Blob("a", ""), digest.FromString("nobody pushed this"))
	_, err = w.Put(storage.ManifestPut{Repo: "a", Tags: []storage.Tag{"t"}, Body: body})

	var missing *storage.MissingError

	w.True(errors.As(err, &missing), "a layer that is not there is named", err)

	_, err = w.Put(storage.ManifestPut{Repo: "a", Digest: digest.FromString("other"), Body: image.Body})
	w.Is(err, storage.ErrDigestMismatch, "another digest")

	sum := digest.SHA512.FromBytes(image.Body)
	_, err = w.Put(storage.ManifestPut{Repo: "a", Digest: sum, Tags: []storage.Tag{"s512", "also"}, Body: image.Body})
	w.NoError(err, "a sha512 digest and two tags")
	w.Equal(w.MustGet("a", "also").Digest, sum, "both tags are there")

	w.Is(w.Get("a", "none"), storage.ErrManifestUnknown, "no such tag")
	w.Is(w.Get("none", "none"), storage.ErrRepoUnknown, "no such repository")
	w.Is(w.Get("a", digest.FromString("x").String()), storage.ErrManifestUnknown, "a blob is no manifest")
}

func testPreconditions(w *World) {
	one, two := w.Push("a", "one", "1"), w.Push("a", "two", "2")
	put := func(body []byte, tag storage.Tag, cond storage.Precondition) error {
		_, err := w.Put(storage.ManifestPut{Repo: "a", Tags: []storage.Tag{tag}, Body: body, If: cond})

		return err
	}

	w.NoError(put(one.Body, "new", storage.Precondition{NoneAny: true}), "create a tag once")
	w.Is(put(two.Body, "new", storage.Precondition{NoneAny: true}), storage.ErrPrecondition, "create it twice")
	w.Is(put(two.Body, "none", storage.Precondition{MatchAny: true}), storage.ErrPrecondition, "move what is not there")
	w.Is(put(two.Body, "new", storage.Precondition{Match: []digest.Digest{two.Digest}}), storage.ErrPrecondition, "another digest")
	w.NoError(put(two.Body, "new", storage.Precondition{Match: []digest.Digest{one.Digest}}), "move from what was read")

	_, err := w.Put(storage.ManifestPut{
		Repo: "a", Digest: one.Digest, Body: one.Body, Tags: []storage.Tag{"fresh", "new"},
		If: storage.Precondition{NoneAny: true},
	})
	w.Is(err, storage.ErrPrecondition, "one of two tags exists")
	w.Is(w.Get("a", "fresh"), storage.ErrManifestUnknown, "then neither is set")

	w.Is(w.Delete("a", "new", storage.Precondition{Match: []digest.Digest{one.Digest}}), storage.ErrPrecondition, "delete")
	w.NoError(w.Delete("a", "new", storage.Precondition{Match: []digest.Digest{two.Digest}}), "delete what was read")
}

// testRights is about what a user may not do to tags.
func testRights(w *World) {
	one, two := w.Push("a", "one", "1"), w.Push("a", "two", "2")
	put := func(body []byte, cond storage.Precondition, tags ...storage.Tag) error {
		_, err := w.Put(storage.ManifestPut{Repo: "a", Tags: tags, Body: body, If: cond})

		return err
	}

	noNew, noMove := storage.Precondition{NoNew: true}, storage.Precondition{NoMove: true}

	w.Is(put(one.Body, noNew, "new"), storage.ErrTagChange, "make a tag")
	w.NoError(put(one.Body, noMove, "new"), "make a tag")
	w.NoError(put(one.Body, noMove, "new"), "make it again")
	w.Is(put(two.Body, noMove, "newer", "new"), storage.ErrTagChange, "move one of two")
	w.Is(w.Get("a", "newer"), storage.ErrManifestUnknown, "then neither is set")
	w.NoError(put(two.Body, noNew, "new"), "move a tag")

	secret := storage.Precondition{NoMove: true, Match: []digest.Digest{two.Digest}}
	w.Is(put(one.Body, secret, "new"), storage.ErrTagChange, "what it points to is not told")

	single := storage.Precondition{OneTag: true}
	w.Is(w.Delete("a", two.Digest.String(), single), storage.ErrManyTags, "two tags point to it")
	w.NoError(w.Delete("a", "new", single), "delete one of them")
	w.NoError(w.Delete("a", two.Digest.String(), single), "one tag points to it")
	w.Is(w.Get("a", "two"), storage.ErrManifestUnknown, "which is gone")
}

func testDeletes(w *World) {
	image := w.Push("a", "one", "x")
	layer := image.Blobs[1]

	w.Is(w.DeleteBlob("a", layer), storage.ErrInUse, "a blob that a manifest names")

	w.Tag("a", image, "two")
	w.NoError(w.Delete("a", "one", storage.Precondition{}), "delete a tag")
	w.Is(w.Get("a", "one"), storage.ErrManifestUnknown, "it is gone")
	w.NoError(w.Get("a", "two"), "the other is there")
	w.Is(w.Delete("a", "one", storage.Precondition{}), storage.ErrManifestUnknown, "delete it twice")

	index := w.PutIndex("a", "all", image.Digest)
	w.Is(w.Delete("a", image.Digest.String(), storage.Precondition{}), storage.ErrInUse, "an index names it")
	w.NoError(w.Delete("a", index.String(), storage.Precondition{}), "delete the index")
	w.NoError(w.Delete("a", image.Digest.String(), storage.Precondition{}), "then the manifest")
	w.Is(w.Get("a", "two"), storage.ErrManifestUnknown, "its tags are gone")

	w.NoError(w.DeleteBlob("a", layer), "delete the blob")
	w.Is(w.DeleteBlob("a", layer), storage.ErrBlobUnknown, "delete it twice")
	w.Is(w.Stat("a", layer), storage.ErrBlobUnknown, "it is hidden")

	_, err := w.Put(storage.ManifestPut{Repo: "a", Tags: []storage.Tag{"t"}, Body: image.Body})

	var missing *storage.MissingError

	w.True(errors.As(err, &missing), "no manifest may name it", err)

	w.Push("a", "again", "x")
	w.Equal(w.Pull("a", layer), "x", "pushing it again brings it back")
	w.Is(w.Delete("none", "t", storage.Precondition{}), storage.ErrRepoUnknown, "no such repository")
}

func testTags(w *World) {
	image := w.Push("a", "b", "x")
	for _, tag := range []string{"C", "a", "c", "B", "1.0"} {
		w.Tag("a", image, tag)
	}

	w.Equal(w.Tags("a", "", -1), "1.0 B C a b c", "all, in byte order")
	w.Equal(w.Tags("a", "", 2), "1.0 B ...", "a page")
	w.Equal(w.Tags("a", "B", 2), "C a ...", "the next")
	w.Equal(w.Tags("a", "b", 2), "c", "the last")
	w.Equal(w.Tags("a", "Z", 1), "a ...", "behind a tag that is not there")
	w.Equal(w.Tags("a", "", 0), " ...", "none asked for")

	_, _, err := w.Store.ListTags(w.T.Context(), "none", "", -1)
	w.Is(err, storage.ErrRepoUnknown, "no such repository")
}

func testCatalog(w *World) {
	for _, repo := range []storage.RepoName{"b", "a/b", "a", "a-b", "a/b/c"} {
		w.Push(repo, "t", "x")
	}

	w.Blob("only/blobs", "x")
	w.Equal(w.Repos("", -1), "a a-b a/b a/b/c b", "what was committed to, in byte order")
	w.Equal(w.Repos("a-b", 2), "a/b a/b/c ...", "a page")
}

func testReferrers(w *World) {
	image := w.Push("a", "t", "x")
	w.Equal(w.Referrers("a", storage.ReferrerQuery{Subject: image.Digest}), "", "none")

	sbom := w.Attach("a", image.Digest, "application/sbom", "s")
	sig := w.Attach("a", image.Digest, "application/sig", "t")
	want := sbom.String() + " " + sig.String()

	if sig < sbom {
		want = sig.String() + " " + sbom.String()
	}

	w.Equal(w.Referrers("a", storage.ReferrerQuery{Subject: image.Digest}), want, "both, by digest")
	w.Equal(w.Referrers("a", storage.ReferrerQuery{Subject: image.Digest, ArtifactType: "application/sig"}), sig.String(), "filtered")

	page, more, err := w.Store.ListReferrers(w.T.Context(), "a", storage.ReferrerQuery{Subject: image.Digest, MaxBytes: 1})
	w.NoError(err, "a page")
	w.True(more && len(page) == 1, "it has one at least, and says that there are more")
	w.Equal(page[0].Annotations["note"] != "", true, "with the annotations of the manifest")

	w.Equal(len(w.Referrers("a", storage.ReferrerQuery{Subject: image.Digest, After: page[0].Digest})), len(sig.String()), "the next page")

	w.NoError(w.Delete("a", sbom.String(), storage.Precondition{}), "delete one")
	w.Equal(w.Referrers("a", storage.ReferrerQuery{Subject: image.Digest}), sig.String(), "it is not listed")
	w.Equal(w.Referrers("none", storage.ReferrerQuery{Subject: image.Digest}), "", "no such repository")

	early := w.Attach("early", image.Digest, "application/sig", "before its subject")
	w.Equal(w.Referrers("early", storage.ReferrerQuery{Subject: image.Digest}), early.String(), "pushed before its subject")
}

func testDamage(w *World) {
	long := strings.Repeat("a layer ", 20_000) // what is small may be in memory
	image := w.Push("a", "t", long)
	layer := image.Blobs[1]

	w.Overwrite("a", layer, "a lay")
	_, err := w.Store.OpenBlob(w.T.Context(), "a", layer, storage.Whole)
	w.Is(err, storage.ErrDamaged, "a layer that was cut short is not served")
	w.Is(w.Stat("a", layer), storage.ErrBlobUnknown, "a client is asked to push it")

	w.Blob("a", long)
	w.Equal(w.Pull("a", layer), long, "pushing it heals it")

	if w.Driver.Remote() {
		return
	}

	w.NoError(w.Driver.Delete(w.T.Context(), storage.BlobKey("a", image.Digest)), "lose the manifest")
	w.Is(w.Get("a", "t"), storage.ErrDamaged, "it is not served")
	w.Tag("a", image, "t")
	w.NoError(w.Get("a", "t"), "pushing it heals it")
}

func testNames(w *World) {
	for _, id := range []string{"", "..", "../../index.json", "x", "{00000000-0000-0000-0000-000000000000}"} {
		_, err := w.Store.StatUpload(w.T.Context(), "a", id)
		w.Is(err, storage.ErrUploadUnknown, "upload "+id)
	}

	for _, bad := range []string{"", "sha256", "sha256:..", "sha256:" + digest.FromString("x").Encoded()[:62] + "..", "md5:d41d8cd98f00b204e9800998ecf8427e"} {
		_, err := storage.ParseDigest(bad)
		w.Is(err, storage.ErrDigestInvalid, bad)
	}
}
