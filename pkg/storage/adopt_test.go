package storage_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// layout is a root on which another program works, beside zot.
type layout struct {
	*storagetest.World
	t      *testing.T
	memory *storagetest.Memory
	store  *storage.Store
}

func newLayout(t *testing.T) *layout {
	t.Helper()

	l := &layout{t: t, memory: storagetest.NewMemory()}
	t.Cleanup(func() { l.close() })

	return l
}

func (l *layout) open() {
	l.t.Helper()
	l.openOn(l.memory.Driver())
}

// openOn opens a store over a driver of memory.
func (l *layout) openOn(driver storage.Driver) {
	l.t.Helper()
	l.World = openProcess(l.t, driver)
	l.store = l.Store
}

func (l *layout) close() {
	if l.store == nil {
		return
	}

	if err := l.store.Close(context.Background()); err != nil {
		l.t.Error(err)
	}

	l.store = nil
}

func (l *layout) write(key string, body string) {
	l.t.Helper()

	if _, err := l.memory.Driver().Put(l.t.Context(), key, []byte(body)); err != nil {
		l.t.Fatal(err)
	}
}

// image writes an image as another program would, and returns its descriptor.
func (l *layout) image(repo storage.RepoName, tag, layer string) map[string]any {
	l.t.Helper()

	body := manifestOf(layer)

	for _, content := range []string{"{}", layer, body} {
		l.write(storage.BlobKey(repo, digest.FromString(content)), content)
	}

	entry := map[string]any{
		"mediaType": "application/vnd.oci.image.manifest.v1+json",
		"digest":    digest.FromString(body), "size": len(body),
		"platform": map[string]any{"os": "linux", "architecture": "amd64"},
	}
	if tag != "" {
		entry["annotations"] = map[string]string{"org.opencontainers.image.ref.name": tag, "note": "theirs"}
	}

	return entry
}

func jsonOf(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}

	return string(data)
}

func (l *layout) index(repo storage.RepoName) map[string]any {
	l.t.Helper()

	object, err := l.memory.Driver().Open(l.t.Context(), string(repo)+"/index.json", storage.Whole)
	if err != nil {
		l.t.Fatal(err)
	}

	var index map[string]any
	if err := json.NewDecoder(object.Body).Decode(&index); err != nil {
		l.t.Fatal(err)
	}

	return index
}

func (l *layout) entries(repo storage.RepoName) []any { return l.index(repo)["manifests"].([]any) }

func TestAdoptsALayout(t *testing.T) {
	l := newLayout(t)
	l.write("their/app/index.json", jsonOf(map[string]any{
		"schemaVersion": 2, "custom": "kept", "annotations": map[string]string{"a": "kept too"},
		"manifests": []any{l.image("their/app", "one", "layer"), l.image("their/app", "not/a:tag", "other")},
	}))
	l.open()

	l.Equal(l.Tags("their/app", "", -1), "one", "its tags; those that are none are left out")
	manifest := l.MustGet("their/app", "one")
	checkImage(l.World, "their/app", manifest)
	l.NoError(l.Get("their/app", l.image("their/app", "", "other")["digest"].(digest.Digest).String()), "what has no good tag has its digest")
	l.Equal(l.Repos("", -1), "their/app", "it is in the catalog")

	l.Push("their/app", "two", "more")
	l.close()
	l.Equal(len(l.entries("their/app")), 3, "index.json has all")
	l.Equal(l.index("their/app")["custom"], "kept", "fields of others are kept")

	text := jsonOf(l.index("their/app"))
	for _, kept := range []string{`"a":"kept too"`, `"architecture":"amd64"`, `"note":"theirs"`} {
		l.True(strings.Contains(text, kept), kept, text)
	}
}

func TestAdoptsChangesWhileServing(t *testing.T) {
	l := newLayout(t)
	l.open()
	l.Push("a", "ours", "1")
	l.Push("a", "moved", "1")
	l.Push("a", "gone", "2")
	l.close()
	l.open()

	stale := l.index("a")
	l.Push("a", "since", "3")

	stale["manifests"] = append(filtered(stale["manifests"].([]any), "gone"), l.image("a", "new", "4"))
	l.write("a/index.json", jsonOf(stale))

	l.Equal(l.Tags("a", "", -1), "moved new ours since", "added, removed, and ours since then untouched")
	l.close()
	l.open()
	l.Equal(l.Tags("a", "", -1), "moved new ours since", "also after a restart")

	l.NoError(l.Delete("a", "new", storage.Precondition{}), "delete what was adopted")
	dead := l.store
	t.Cleanup(func() { _ = dead.Close(context.Background()) })
	l.memory.Crash()
	l.open()
	l.Equal(l.Tags("a", "", -1), "moved ours since", "it does not come back")
}

func filtered(entries []any, tag string) []any {
	kept := []any{}

	for _, entry := range entries {
		if !strings.Contains(jsonOf(entry), `"`+tag+`"`) {
			kept = append(kept, entry)
		}
	}

	return kept
}

func TestAdoptsWithoutABase(t *testing.T) {
	l := newLayout(t)
	l.open()
	ours := l.Push("a", "ours", "1")
	l.close()
	l.write("a/index.json", jsonOf(map[string]any{
		"schemaVersion": 2, "manifests": []any{l.image("a", "ours", "2"), l.image("a", "theirs", "3")},
	}))
	l.open()
	l.Equal(l.Tags("a", "", -1), "ours theirs", "tags that we lack are taken, none is deleted")
	l.Equal(l.MustGet("a", "ours").Digest, ours.Digest, "and none is moved")
}

func TestHalfWrittenIndexChangesNothing(t *testing.T) {
	l := newLayout(t)
	l.open()
	l.Push("a", "ours", "1")
	l.close()

	whole := jsonOf(l.index("a"))
	l.write("a/index.json", whole[:len(whole)/2])
	l.open()
	l.Equal(l.Tags("a", "", -1), "ours", "after a restart")
	l.write("a/index.json", "")
	l.Equal(l.Tags("a", "", -1), "ours", "while serving")
	l.write("a/index.json", jsonOf(map[string]any{"schemaVersion": 2, "manifests": []any{l.image("a", "new", "4")}}))
	l.Equal(l.Tags("a", "", -1), "new ours", "when it is whole it is taken")
}

// TestLostCheckpoint: what index.json and the manifests say is enough to serve.
func TestLostCheckpoint(t *testing.T) {
	l := newLayout(t)
	l.open()
	image := l.Push("a", "one", "1")
	l.PutIndex("a", "all", image.Digest)
	l.close()
	l.memory.DamageCheckpoints("a/")
	l.open()
	l.Equal(l.Tags("a", "", -1), "all one", "the tags")
	l.Is(l.Delete("a", image.Digest.String(), storage.Precondition{}), storage.ErrInUse, "and who names whom")
	l.Push("a", "two", "2")
	l.Equal(l.Tags("a", "", -1), "all one two", "and it goes on")
}
