package storagetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/storage"
)

// recoveryCases are about what was done by mistake. Between their steps the process may be
// another one.
var recoveryCases = map[string]func(*World){
	"history of a tag":                 testTagHistory,
	"undo of a tag that moved":         testUndoMoved,
	"undo of a tag that was deleted":   testUndoDeleted,
	"undo restores a manifest":         testUndoRestores,
	"undo of what is forgotten":        testUndoForgotten,
	"undelete of a manifest":           testUndelete,
	"undelete of an index":             testUndeleteIndex,
	"undelete of what is damaged":      testUndeleteDamaged,
	"a repository is deleted":          testDeleteRepo,
	"a repository is never deleted":    testUndeleteNothing,
	"purge of a manifest":              testPurgeManifest,
	"purge of a blob":                  testPurgeBlob,
	"purge of what is in an index":     testPurgeChild,
	"purge of what was deleted before": testPurgeDeleted,
	"purge everywhere":                 testPurgeEverywhere,
}

// TestRecovery runs these cases with a restart between their steps. open opens a driver
// over an empty root, and returns how to open it again after it was closed.
func TestRecovery(t *testing.T, open func(t *testing.T) (d storage.Driver, again func() storage.Driver)) {
	t.Helper()

	for name, test := range recoveryCases {
		t.Run(name, func(t *testing.T) {
			driver, again := open(t)
			w := &World{T: t, Driver: driver, again: again}
			w.open()
			t.Cleanup(func() { w.NoError(w.Store.Close(context.Background()), "close") })
			test(w)
		})
	}
}

// next is the next step of a test: in another process, where there can be one.
func (w *World) next() {
	w.T.Helper()

	if w.again == nil {
		return
	}

	w.NoError(w.Store.Close(w.T.Context()), "close")
	w.Driver = w.again()
	w.open()
}

func (w *World) open() {
	w.T.Helper()

	store, err := storage.Open(w.T.Context(), w.Driver, NewMapCache(), storage.Options{Log: zerolog.Nop()})
	if err != nil {
		w.T.Fatalf("open store: %v", err)
	}

	w.Store = store
}

// Events shows the history of a tag, the newest first: digests by the names of images,
// then what was before.
func (w *World) Events(repo storage.RepoName, tag storage.Tag, names map[digest.Digest]string) string {
	w.T.Helper()

	events, more, err := w.Store.TagHistory(w.T.Context(), repo, tag, 0, -1)
	w.NoError(err, "history")
	w.True(!more, "that is all")

	var shown []string
	for _, event := range events {
		shown = append(shown, fmt.Sprintf("%s %s<%s", event.Action, names[event.Digest], names[event.Before]))
	}

	return strings.Join(shown, ", ")
}

func (w *World) undo(repo storage.RepoName, tag storage.Tag) {
	w.T.Helper()

	_, err := w.Store.UndoTag(w.T.Context(), repo, tag, "admin")
	w.NoError(err, "undo")
}

func (w *World) undelete(repo storage.RepoName, dgst digest.Digest) storage.Restored {
	w.T.Helper()

	done, err := w.Store.Undelete(w.T.Context(), repo, dgst, "admin")
	w.NoError(err, "undelete")

	return done
}

// pointsTo checks what a tag points to, and that all of it can be pulled.
func (w *World) pointsTo(repo storage.RepoName, tag string, image Image) {
	w.T.Helper()
	w.Equal(w.MustGet(repo, tag).Digest, image.Digest, "what "+tag+" points to")

	for _, blob := range image.Blobs {
		w.Pull(repo, blob)
	}
}

func testTagHistory(w *World) {
	one, two := w.Push("a", "x", "one"), w.Push("a", "x", "two")
	names := map[digest.Digest]string{one.Digest: "one", two.Digest: "two"}
	w.next()
	w.Push("a", "other", "one")
	w.NoError(w.Delete("a", "x", storage.Precondition{}), "delete the tag")
	w.next()
	w.Tag("a", one, "x")
	w.NoError(w.Delete("a", one.Digest.String(), storage.Precondition{}), "delete the manifest")
	w.Push("a", "x", "two")
	w.NoError(w.Store.DeleteRepo(w.T.Context(), "a", "admin"), "delete the repository")
	w.next()

	w.Equal(w.Events("a", "x", names),
		"deleted <two, set two<, deleted <one, set one<, deleted <two, set two<one, set one<", "events")
	w.Equal(w.Events("a", "other", names), "deleted <one, set one<", "events of the other tag")

	all, _, err := w.Store.TagHistory(w.T.Context(), "a", "x", 0, -1)
	w.NoError(err, "history")
	w.Equal(all[0].Who, "admin", "who deleted it last")
	w.True(!all[0].Time.Before(all[1].Time), "the newest is first")

	var paged []storage.TagEvent

	for before, more := uint64(0), true; more; before = paged[len(paged)-1].Seq {
		var page []storage.TagEvent

		page, more, err = w.Store.TagHistory(w.T.Context(), "a", "x", before, 2)
		w.NoError(err, "a page")
		w.True(len(page) > 0 && len(page) <= 2, "a page has up to two events")

		paged = append(paged, page...)
	}

	w.True(slices.Equal(paged, all), "pages together are the whole", len(paged), len(all))

	_, _, err = w.Store.TagHistory(w.T.Context(), "a", "never", 0, -1)
	w.Is(err, storage.ErrManifestUnknown, "history of a tag that never was")
	_, _, err = w.Store.TagHistory(w.T.Context(), "never", "x", 0, -1)
	w.Is(err, storage.ErrRepoUnknown, "history in a repository that never was")
}

func testUndoMoved(w *World) {
	one, two := w.Push("a", "x", "one"), w.Push("a", "x", "two")
	w.Push("a", "x", "two") // changes nothing
	w.next()
	w.undo("a", "x")
	w.pointsTo("a", "x", one)
	w.next()
	w.undo("a", "x")
	w.pointsTo("a", "x", two)
	w.undo("a", "x")
	w.next()
	w.pointsTo("a", "x", one)

	w.Push("a", "new", "one")
	w.undo("a", "new")
	w.Is(w.Get("a", "new"), storage.ErrManifestUnknown, "a tag whose making was undone")
	w.next()
	w.undo("a", "new")
	w.pointsTo("a", "new", one)

	_, err := w.Store.UndoTag(w.T.Context(), "a", "never", "admin")
	w.Is(err, storage.ErrManifestUnknown, "undo of a tag that never was")
	_, err = w.Store.UndoTag(w.T.Context(), "never", "x", "admin")
	w.Is(err, storage.ErrRepoUnknown, "undo in a repository that never was")
}

func testUndoDeleted(w *World) {
	one := w.Push("a", "x", "one")
	w.NoError(w.Delete("a", "x", storage.Precondition{}), "delete the tag")
	w.next()
	w.undo("a", "x")
	w.pointsTo("a", "x", one)
	w.undo("a", "x")
	w.Is(w.Get("a", "x"), storage.ErrManifestUnknown, "the tag after an undo of the undo")
	w.MustGet("a", one.Digest.String())
}

func testUndoRestores(w *World) {
	one := w.Push("a", "x", "one")
	w.Push("a", "x", "two")
	w.Tag("a", one, "y")
	w.NoError(w.Delete("a", one.Digest.String(), storage.Precondition{}), "delete the manifest")
	w.next()
	w.Is(w.Get("a", one.Digest.String()), storage.ErrManifestUnknown, "the deleted manifest")
	w.undo("a", "x")
	w.pointsTo("a", "x", one)
	w.Is(w.Get("a", "y"), storage.ErrManifestUnknown, "the other tag of it")
	w.next()
	w.undo("a", "y")
	w.pointsTo("a", "y", one)
}

func testUndoForgotten(w *World) {
	one := w.Push("a", "x", "one")
	two := w.Push("a", "x", "two")
	w.purge("a", one.Digest, storage.PurgeOptions{})
	w.next()

	_, err := w.Store.UndoTag(w.T.Context(), "a", "x", "admin")
	w.Is(err, storage.ErrForgotten, "undo to what was purged")
	w.pointsTo("a", "x", two)
}

func testUndelete(w *World) {
	one := w.Push("a", "x", "one")
	w.Tag("a", one, "y")
	w.NoError(w.Delete("a", one.Digest.String(), storage.Precondition{}), "delete the manifest")
	two := w.Push("a", "y", "two")
	w.next()

	done := w.undelete("a", one.Digest)
	w.Equal(fmt.Sprint(done.Tags, done.Taken), "[x] [y]", "tags that are back, and that were set since")
	w.next()
	w.pointsTo("a", "x", one)
	w.pointsTo("a", "y", two)

	_, err := w.Store.Undelete(w.T.Context(), "a", one.Digest, "admin")
	w.Is(err, storage.ErrPrecondition, "undelete of what is there")
	_, err = w.Store.Undelete(w.T.Context(), "a", digest.FromString("never"), "admin")
	w.Is(err, storage.ErrForgotten, "undelete of what never was")
}

func testUndeleteIndex(w *World) {
	one, two := w.Push("a", "x", "one"), w.Push("a", "y", "two")
	index := w.PutIndex("a", "all", one.Digest, two.Digest)
	w.NoError(w.Delete("a", index.String(), storage.Precondition{}), "delete the index")
	w.NoError(w.Delete("a", one.Digest.String(), storage.Precondition{}), "delete a child")
	w.next()

	done := w.undelete("a", index)
	w.Equal(len(done.Manifests), 2, "manifests that are back")
	w.Equal(fmt.Sprint(done.Tags), "[all]", "tags that are back: those of what was asked for")
	w.next()
	w.MustGet("a", "all")
	w.pointsTo("a", one.Digest.String(), one)
	w.Is(w.Delete("a", one.Digest.String(), storage.Precondition{}), storage.ErrInUse, "delete the child again")
}

func testUndeleteDamaged(w *World) {
	one := w.Push("a", "x", "one")
	w.NoError(w.Delete("a", one.Digest.String(), storage.Precondition{}), "delete the manifest")
	w.NoError(w.Driver.Delete(w.T.Context(), storage.BlobKey("a", one.Blobs[1])), "lose a layer")

	if w.Driver.Remote() {
		w.NoError(w.DeleteBlob("a", one.Blobs[0]), "delete the config, whose bytes are its own")
	}

	w.next()

	_, err := w.Store.Undelete(w.T.Context(), "a", one.Digest, "admin")
	w.Is(err, storage.ErrDamaged, "undelete without a layer")
	w.True(strings.Contains(fmt.Sprint(err), one.Blobs[1].String()) || w.Driver.Remote(), "it says which", err)
	w.Is(w.Get("a", "x"), storage.ErrManifestUnknown, "nothing is back")

	w.Blob("a", "one")

	if w.Driver.Remote() {
		return
	}

	w.undelete("a", one.Digest)
	w.pointsTo("a", "x", one)
}

func testDeleteRepo(w *World) {
	one, two := w.Push("a", "x", "one"), w.Push("a", "y", "two")
	w.NoError(w.Delete("a", two.Digest.String(), storage.Precondition{}), "delete one manifest before")
	w.NoError(w.Store.DeleteRepo(w.T.Context(), "a", "admin"), "delete the repository")
	w.next()
	w.Is(w.Get("a", "x"), storage.ErrManifestUnknown, "a tag of it")
	w.Equal(w.Tags("a", "", -1), "", "its tags")
	w.Is(w.Store.DeleteRepo(w.T.Context(), "a", "admin"), storage.ErrRepoUnknown, "delete it again")
	three := w.Push("a", "z", "three")
	w.next()

	done := w.undelete("a", "")
	w.Equal(len(done.Manifests), 1, "manifests that are back")
	w.pointsTo("a", "x", one)
	w.pointsTo("a", "z", three)
	w.Is(w.Get("a", "y"), storage.ErrManifestUnknown, "what was deleted before by itself")

	_, err := w.Store.Undelete(w.T.Context(), "a", "", "admin")
	w.Is(err, storage.ErrForgotten, "undelete once more")
	w.True(strings.Contains(fmt.Sprint(err), two.Digest.String()), "it says what can be brought back", err)
	w.Is(w.Store.DeleteRepo(w.T.Context(), "never", "admin"), storage.ErrRepoUnknown, "delete what never was")
}

func testUndeleteNothing(w *World) {
	w.Push("a", "x", "one")
	w.next()

	_, err := w.Store.Undelete(w.T.Context(), "a", "", "admin")
	w.Is(err, storage.ErrForgotten, "undelete of what was not deleted")
	_, err = w.Store.Undelete(w.T.Context(), "never", "", "admin")
	w.Is(err, storage.ErrRepoUnknown, "undelete of what never was")
}
