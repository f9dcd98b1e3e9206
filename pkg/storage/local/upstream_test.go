package local_test

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/local"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// TestUpstreamRoot: a root that an upstream zot has left is served as it is, and can
// be given back.
func TestUpstreamRoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUpstreamRoot(t)
		before := u.files()

		w := u.open()
		u.checkServed(w)
		time.Sleep(time.Minute) // the catalog is made, the cache filled
		u.checkServed(w)
		w.Equal(w.Repos("", -1), "alpine library/app", "the catalog lists the repositories only")
		u.checkDedupes(w)
		w.NoError(w.Store.Close(context.Background()), "close")

		u.checkGivenBack(before)
		w = u.open()
		u.checkServed(w)
		w.NoError(w.Store.Close(context.Background()), "close again")
	})
}

// TestUpstreamRootSeenOnce: the same for a process that stops at once, and has seen
// nothing but one pull.
func TestUpstreamRootSeenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUpstreamRoot(t)
		before := u.files()

		w := u.open()
		w.MustGet("alpine", "latest")
		w.NoError(w.Store.Close(context.Background()), "close")
		u.checkGivenBack(before)
	})
}

// open wires a store as the program does.
func (u *upstreamRoot) open() *storagetest.World {
	u.t.Helper()

	root, err := local.OpenRoot(u.t.Context(), local.RootOptions{Path: u.path, Commit: true, Log: zerolog.Nop()})
	u.must(err)

	cache, err := storage.Create("boltdb", storage.CacheOptions{
		Directory: u.path, Namespace: root.ID(), Log: zerolog.Nop(),
	})
	u.must(err)

	store, err := local.NewStore(u.t.Context(), root, cache, storage.Options{Log: zerolog.Nop()})
	u.must(err)

	return &storagetest.World{T: u.t, Driver: root, Store: store}
}

func (u *upstreamRoot) checkServed(w *storagetest.World) {
	u.t.Helper()

	for repo, tags := range map[storage.RepoName]string{"alpine": "3.18 3.19 latest", "library/app": "v1"} {
		w.Equal(w.Tags(repo, "", -1), tags, "tags of "+string(repo))

		for tag := range strings.FieldsSeq(tags) {
			u.checkPulls(w, repo, tag)
		}
	}

	subject := w.MustGet("alpine", "latest").Digest
	page, _, err := w.Store.ListReferrers(u.t.Context(), "alpine", storage.ReferrerQuery{Subject: subject, MaxBytes: 1 << 20})
	w.NoError(err, "list referrers")
	w.Equal(len(page), 1, "referrers of latest")
}

// checkPulls pulls an image, or an index with all that it names.
func (u *upstreamRoot) checkPulls(w *storagetest.World, repo storage.RepoName, reference string) {
	u.t.Helper()

	manifest := w.MustGet(repo, reference)
	w.Equal(digest.FromBytes(manifest.Body), manifest.Digest, "bytes of "+reference)

	var named struct {
		Config    *v1.Descriptor  `json:"config"`
		Layers    []v1.Descriptor `json:"layers"`
		Manifests []v1.Descriptor `json:"manifests"`
	}

	u.must(json.Unmarshal(manifest.Body, &named))

	if named.Config != nil {
		named.Layers = append(named.Layers, *named.Config)
	}

	w.True(len(named.Layers)+len(named.Manifests) > 1, "it names something", reference)

	for _, layer := range named.Layers {
		w.Equal(digest.FromString(w.Pull(repo, layer.Digest)), layer.Digest, "bytes of a layer")
	}

	for _, child := range named.Manifests {
		u.checkPulls(w, repo, child.Digest.String())
	}
}

// checkDedupes pushes to a repository that is not there yet.
func (u *upstreamRoot) checkDedupes(w *storagetest.World) {
	u.t.Helper()
	w.Push("new/app", "v1", "shared layer", "app layer")

	for content, repo := range map[string]string{"shared layer": "alpine", "app layer": "library/app", "{}": "alpine"} {
		dgst := digest.FromString(content)
		w.True(u.sameFile(blobName(repo, dgst), blobName("new/app", dgst)), "one inode for all", content)
	}
}

func (u *upstreamRoot) sameFile(a, b string) bool {
	u.t.Helper()

	infoA, err := os.Stat(u.file(a))
	u.must(err)

	infoB, err := os.Stat(u.file(b))
	u.must(err)

	return os.SameFile(infoA, infoB)
}

// checkGivenBack checks that an upstream zot finds all that it had.
func (u *upstreamRoot) checkGivenBack(before map[string]string) {
	u.t.Helper()

	after := u.files()

	for name, content := range before {
		switch {
		case strings.HasSuffix(name, "/index.json") && !strings.HasPrefix(name, "_") && !strings.Contains(name, "/."):
			u.checkIndex(after[name], content)
		case name == "cache.db":
			if after["cache.db.upstream-1"] != content {
				u.t.Error("the upstream cache.db is not kept as cache.db.upstream-1")
			}
		case after[name] != content:
			u.t.Errorf("%s was %d bytes, and now is %d others", name, len(content), len(after[name]))
		}
	}

	if !u.sameFile(blobName("alpine", digest.FromString("shared layer")), blobName("library/app", digest.FromString("shared layer"))) {
		u.t.Error("blobs that were hard links are none any more")
	}
}

// checkIndex checks that an index.json names what another did, in the same way, as
// the image-spec wants it.
func (u *upstreamRoot) checkIndex(now, before string) {
	u.t.Helper()

	var index, was v1.Index

	u.must(json.Unmarshal([]byte(now), &index))
	u.must(json.Unmarshal([]byte(before), &was))

	if index.SchemaVersion != 2 {
		u.t.Errorf("schemaVersion is %d", index.SchemaVersion)
	}

	names := func(entry v1.Descriptor) string {
		return strings.Join([]string{entry.MediaType, entry.Digest.String(), entry.Annotations[refName]}, " ")
	}

	got, want := map[string]int64{}, map[string]int64{}
	for _, entry := range index.Manifests {
		got[names(entry)] = entry.Size
	}

	for _, entry := range was.Manifests {
		want[names(entry)] = entry.Size
	}

	for entry, size := range want {
		if got[entry] != size {
			u.t.Errorf("index.json does not name %q of %d bytes; it has %v", entry, size, got)
		}
	}

	if len(got) != len(want) || len(index.Manifests) != len(was.Manifests) {
		u.t.Errorf("index.json has %d entries, not %d", len(index.Manifests), len(was.Manifests))
	}
}
