package storagetest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/storage"
)

// TestCopy checks storage.Copy between stores over two kinds of drivers, in both directions.
func TestCopy(t *testing.T, here, there Opener) {
	for name, pair := range map[string][2]Opener{"there": {here, there}, "back": {there, here}} {
		t.Run(name, func(t *testing.T) {
			t.Run("all", func(t *testing.T) { testCopyAll(t, pair[0], pair[1]) })
			t.Run("increment", func(t *testing.T) { testCopyIncrement(t, pair[0], pair[1]) })
			t.Run("one", func(t *testing.T) { testCopyOne(t, pair[0], pair[1]) })
			t.Run("damage", func(t *testing.T) { testCopyDamage(t, pair[0], pair[1]) })
			t.Run("damage, and what was before is gone", func(t *testing.T) { testCopyDamageReplaced(t, pair[0], pair[1]) })
			t.Run("target has lost bytes", func(t *testing.T) { testCopyLost(t, pair[0], pair[1]) })
			t.Run("sparse", func(t *testing.T) { testCopySparse(t, pair[0], pair[1]) })
		})
	}
}

// Copy copies to another store, and returns what that did.
func (w *World) Copy(to *World, opts storage.CopyOptions) storage.Copied {
	w.T.Helper()

	done, err := w.TryCopy(to, opts)
	w.NoError(err, "copy")

	return done
}

// TryCopy copies to another store.
func (w *World) TryCopy(to *World, opts storage.CopyOptions) (storage.Copied, error) {
	if opts.Who == "" {
		opts.Who = "copier"
	}

	return storage.Copy(w.T.Context(), storage.NewStores(w.Store, nil), storage.NewStores(to.Store, nil), opts)
}

// Same fails the test unless another store has the same repository: tags with their times and
// users, manifests byte for byte, and what they name.
func (w *World) Same(other *World, repo storage.RepoName) {
	w.T.Helper()

	w.Equal(other.Tags(repo, "", -1), w.Tags(repo, "", -1), "tags of "+string(repo))

	for tag := range strings.FieldsSeq(w.Tags(repo, "", -1)) {
		w.sameImage(other, repo, tag)
		w.sameHistory(other, repo, tag)
	}
}

// sameHistory fails the test unless another store tells the same of a tag.
func (w *World) sameHistory(other *World, repo storage.RepoName, tag string) {
	w.T.Helper()

	w.Equal(other.history(repo, tag), w.history(repo, tag), "history of "+tag)
}

// history is what has happened to a tag, in lines.
func (w *World) history(repo storage.RepoName, tag string) string {
	w.T.Helper()

	events, _, err := w.Store.TagHistory(w.T.Context(), repo, storage.Tag(tag), 0, -1)
	w.NoError(err, "history")

	var lines strings.Builder
	for _, e := range events {
		fmt.Fprintln(&lines, e.Action, e.Digest, e.Time.UTC(), e.Who)
	}

	return lines.String()
}

func (w *World) sameImage(other *World, repo storage.RepoName, reference string) {
	w.T.Helper()

	want, got := w.MustGet(repo, reference), other.MustGet(repo, reference)
	w.Equal(string(got.Body), string(want.Body), "manifest "+reference)
	w.Equal(got.MediaType, want.MediaType, "media type of "+reference)

	query := storage.ReferrerQuery{Subject: want.Digest}
	w.Equal(other.Referrers(repo, query), w.Referrers(repo, query), "referrers of "+reference)

	for referrer := range strings.FieldsSeq(w.Referrers(repo, query)) {
		w.sameImage(other, repo, referrer)
	}

	for _, dgst := range NamedBy(want.Body) {
		if w.Get(repo, dgst.String()) == nil {
			w.sameImage(other, repo, dgst.String())
		} else {
			w.Equal(other.Pull(repo, dgst), w.Pull(repo, dgst), "blob "+dgst.String())
		}
	}
}

// copiedWorlds opens a source and a target.
func copiedWorlds(t *testing.T, from, to Opener) (src, dst *World) {
	t.Helper()

	return Open(t, from), Open(t, to)
}

func testCopyAll(t *testing.T, from, to Opener) {
	src, dst := copiedWorlds(t, from, to)

	amd := src.Push("team/app", "amd64", "shared", "amd")
	arm := src.Push("team/app", "arm64", "shared", "arm")
	src.PutIndex("team/app", "v1", amd.Digest, arm.Digest)
	signature := src.Attach("team/app", amd.Digest, "test/signature", "one")
	src.Attach("team/app", signature, "test/signature", "of the signature")
	src.Push("other", "v1", "shared")
	src.NoError(src.Delete("team/app", "arm64", storage.Precondition{}), "delete a tag")

	var told storage.Copied

	done := src.Copy(dst, storage.CopyOptions{Exact: true, Tell: func(now storage.Copied) { told = now }})

	src.Same(dst, "team/app")
	src.Same(dst, "other")
	src.sameHistory(dst, "team/app", "arm64")
	src.Equal(dst.Repos("", -1), src.Repos("", -1), "repositories")
	src.Equal(told, done, "what was told last")
	src.Equal(done.Repos, 2, "repositories done")
	src.Equal(done.Manifests, 6, "manifests")
	src.Equal(done.Tags, 3, "tags")
	src.Equal(done.Blobs+done.Shared, 6, "blobs") // {}, shared, amd, arm; {}, shared
}

func testCopyIncrement(t *testing.T, from, to Opener) {
	src, dst := copiedWorlds(t, from, to)

	for i := range 10 {
		src.Push("a", fmt.Sprint("v", i), fmt.Sprint("layer", i))
	}

	src.Copy(dst, storage.CopyOptions{Exact: true})

	again := src.Copy(dst, storage.CopyOptions{Exact: true})
	src.Equal(again, storage.Copied{Repos: 1, Of: 1}, "what is done when nothing has changed")

	large := strings.Repeat("x", 100_000)
	image := src.Push("a", "v3", large)
	src.NoError(src.Delete("a", "v4", storage.Precondition{}), "delete a tag")

	more := src.Copy(dst, storage.CopyOptions{Exact: true})
	src.Equal(more, storage.Copied{
		Repos: 1, Of: 1, Manifests: 1, Tags: 1, Blobs: 1, Removed: 1, Bytes: int64(len(large) + len(image.Body)),
	}, "what is done for one image")
	src.Same(dst, "a")
	src.sameHistory(dst, "a", "v4")

	for n := range 4 { // more than one event of a tag between two copies
		src.Push("a", "v5", fmt.Sprint("moved", n))
		src.Push("a", "short", fmt.Sprint("moved", n))
		src.NoError(src.Delete("a", "short", storage.Precondition{}), "delete a tag")
	}

	src.Copy(dst, storage.CopyOptions{Exact: true})
	src.Same(dst, "a")
	src.sameHistory(dst, "a", "short")

	src.NoError(src.Store.DeleteRepo(t.Context(), "a", ""), "delete the repository")
	src.Copy(dst, storage.CopyOptions{Exact: true})
	src.Is(dst.Get("a", "v3"), storage.ErrManifestUnknown, "what was deleted from the source is not in the copy")
	_, err := dst.Store.Undelete(t.Context(), "a", image.Digest, "")
	src.NoError(err, "bring it back in the copy")
	src.Equal(dst.Pull("a", digest.FromString(large)), large, "it is there")
}

func testCopyOne(t *testing.T, from, to Opener) {
	src, dst := copiedWorlds(t, from, to)

	src.Push("a", "v1", "one")
	src.Push("a/b", "v1", "two")
	dst.Push("a", "v1", "damaged by mistake")
	dst.Push("a", "v2", "newer")
	dst.Push("c", "v1", "not touched")

	_, err := src.TryCopy(dst, storage.CopyOptions{Repos: []storage.RepoName{"a", "none"}})
	src.Is(err, storage.ErrRepoUnknown, "copy of a repository that is not there")
	src.Equal(dst.Pull("a", NamedBy(dst.MustGet("a", "v1").Body)[1]), "damaged by mistake", "nothing was done")

	src.Copy(dst, storage.CopyOptions{Repos: []storage.RepoName{"a"}})
	src.sameImage(dst, "a", "v1")
	src.Equal(dst.Tags("a", "", -1), "v1 v2", "tags: what else was there stays")
	src.Equal(dst.Repos("", -1), "a c", "repositories")
}

// testCopyDamage: an image that cannot be read keeps no other from being copied, and what
// was copied of it before stays.
func testCopyDamage(t *testing.T, from, to Opener) {
	src, dst := copiedWorlds(t, from, to)

	src.Push("a", "good", "good")
	src.Push("a", "bad", "old")
	src.Copy(dst, storage.CopyOptions{Exact: true})

	content := strings.Repeat("y", 70_000)
	bad := src.Push("a", "bad", content)
	src.Push("a", "better", "better")
	src.Overwrite("a", bad.Blobs[1], strings.Repeat("z", len(content)))

	_, err := src.TryCopy(dst, storage.CopyOptions{Exact: true})
	src.Is(err, storage.ErrDamaged, "copy of a damaged blob")
	src.True(strings.Contains(err.Error(), bad.Blobs[1].String()), "the error names the blob", err)
	src.Equal(dst.Tags("a", "", -1), "bad better good", "tags")
	src.Equal(dst.Pull("a", NamedBy(dst.MustGet("a", "bad").Body)[1]), "old", "the tag is what it was")
	src.Is(dst.Get("a", bad.Digest.String()), storage.ErrManifestUnknown, "the image that is damaged")
}

// testCopyDamageReplaced: what the target has of an image that cannot be read stays, though
// the source has it no more.
func testCopyDamageReplaced(t *testing.T, from, to Opener) {
	src, dst := copiedWorlds(t, from, to)

	child := src.Push("a", "child", "child")
	old := src.PutIndex("a", "bad", child.Digest)
	gone := src.Push("a", "gone", "gone")
	src.Copy(dst, storage.CopyOptions{Exact: true})

	bad := src.Push("a", "bad", strings.Repeat("y", 100))
	src.Overwrite("a", bad.Blobs[1], strings.Repeat("z", 100))

	for _, dgst := range []digest.Digest{old, child.Digest, gone.Digest} {
		src.NoError(src.Delete("a", dgst.String(), storage.Precondition{}), "delete in the source")
	}

	_, err := src.TryCopy(dst, storage.CopyOptions{Exact: true})
	src.Is(err, storage.ErrDamaged, "copy of a damaged image")
	src.Equal(dst.Tags("a", "", -1), "bad", "tags")
	src.Equal(dst.MustGet("a", "bad").Digest, old, "what the tag points to")
	src.Equal(dst.Pull("a", child.Blobs[1]), "child", "a layer of it")
	src.NoError(dst.Get("a", child.Digest.String()), "the child of it")
	src.Is(dst.Get("a", gone.Digest.String()), storage.ErrManifestUnknown, "what was deleted otherwise")
}

// testCopyLost: what the target should have, and has no more, is sent again.
func testCopyLost(t *testing.T, from, to Opener) {
	src, dst := copiedWorlds(t, from, to)

	large := strings.Repeat("x", 100_000)
	image := src.Push("a", "v1", "small", large)
	src.Copy(dst, storage.CopyOptions{})

	for _, dgst := range []digest.Digest{image.Digest, digest.FromString("small"), digest.FromString(large)} {
		info, err := dst.Driver.Stat(t.Context(), storage.BlobKey("a", dgst))
		dst.NoError(err, "look for it")
		dst.NoError(dst.Driver.Delete(t.Context(), info.Key), "lose it")
	}

	src.Copy(dst, storage.CopyOptions{})
	src.Same(dst, "a")
}

// testCopySparse: what a sparse store lives without, its copy lives without.
func testCopySparse(t *testing.T, from, to Opener) {
	driver, cache := from(t)
	src := OpenOn(t, driver, cache, storage.Options{Log: zerolog.Nop(), Sparse: true})
	dst := Open(t, to)

	late, never := digest.FromString("late"), digest.FromString("never")
	config := src.Blob("a", "{}")
	body := manifestBody([]digest.Digest{config, late, never}, []string{"{}", "late", "never"}, "", "", nil)
	_, err := src.Put(storage.ManifestPut{Repo: "a", Tags: []storage.Tag{"v1"}, Body: body})
	src.NoError(err, "push a manifest whose layers are not there")
	src.Blob("a", "late")

	src.Copy(dst, storage.CopyOptions{Exact: true})
	src.Equal(string(dst.MustGet("a", "v1").Body), string(body), "manifest")
	src.Equal(dst.Pull("a", late), "late", "layer that came later")
	src.Is(dst.Stat("a", never), storage.ErrBlobUnknown, "layer that never came")
}

// NamedBy are the digests that a manifest names: config, layers, children.
func NamedBy(body []byte) []digest.Digest {
	var parsed struct {
		Config            *storage.Descriptor
		Layers, Manifests []storage.Descriptor
	}

	if err := json.Unmarshal(body, &parsed); err != nil {
		panic(err)
	}

	var named []digest.Digest
	if parsed.Config != nil {
		named = append(named, parsed.Config.Digest)
	}

	for _, d := range append(parsed.Layers, parsed.Manifests...) {
		named = append(named, d.Digest)
	}

	return named
}
