package storage_test

import (
	"context"
	"errors"
	"strings"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// faultStep is something that is done while an operation of the driver fails, and
// then again.
type faultStep struct {
	before func(f *faultRun) // nil = nothing
	do     func(f *faultRun) error
	done   func(w *storagetest.World) // checks what do promised; nil = nothing
}

func (s faultStep) checkDone(w *storagetest.World) {
	w.T.Helper()

	if s.done != nil {
		s.done(w)
	}
}

func faultSteps() map[string]faultStep {
	return map[string]faultStep{
		"push":                     {do: pushStep("a", "new layer"), done: hasTags("a", "new old")},
		"push to a new repository": {do: pushStep("n/e/w", "new layer"), done: hasTags("n/e/w", "new")},
		"tag":                      {do: pushStep("a", "old layer"), done: hasTags("a", "new old")},
		"push under two tags":      {do: pushTwoTags, done: hasTags("a", "old one-of-two two-of-two")},
		"delete a tag":             {do: deleteTag, done: hasTags("a", "")},
		"delete a manifest": {
			before: func(f *faultRun) { f.Push("a", "another", "old layer"); f.Push("a", "other", "other layer") },
			do:     deleteOldManifest, done: hasTags("a", "other"),
		},
		"mount":                     {do: mountOldLayer, done: hasBlob("m", "old layer")},
		"bring a deleted blob back": {do: bringBack, done: hasBlob("a", "spare")},
		"resume an upload":          {do: resumeUpload, done: hasTags("a", "new old")},
		"adopt an index.json":       {before: writeTheirs, do: adoptTheirs, done: hasTags("a", "old theirs")},
		"undo a deletion":           {before: deleteOld, do: undoOld, done: hasTags("a", "old")},
		"undelete a repository":     {before: deleteAll, do: undeleteAll, done: hasTags("a", "old")},
		"delete a repository":       {do: deleteRepo, done: hasTags("a", "")},
		"purge":                     {do: purgeOldLayer, done: isPurged},
		"stop":                      {do: stopAndStart, done: hasTags("a", "old")},
		"adopt and stop":            {before: writeTheirs, do: stopAndStart, done: hasTags("a", "old theirs")},
	}
}

func hasTags(repo storage.RepoName, tags string) func(*storagetest.World) {
	return func(w *storagetest.World) {
		w.T.Helper()
		w.Equal(w.Tags(repo, "", -1), tags, "tags in the end")
	}
}

func hasBlob(repo storage.RepoName, content string) func(*storagetest.World) {
	return func(w *storagetest.World) {
		w.T.Helper()
		w.Equal(w.Pull(repo, digestOf(content)), content, "the blob in the end")
	}
}

func pushStep(repo storage.RepoName, layer string) func(*faultRun) error {
	return func(f *faultRun) error {
		_, err := f.TryPush(repo, "new", layer)

		return err
	}
}

func pushTwoTags(f *faultRun) error {
	if _, err := f.TryBlob("a", "new layer"); err != nil {
		return err
	}

	body := []byte(manifestOf("new layer"))
	_, err := f.Put(storage.ManifestPut{
		Repo: "a", Digest: digestOf(string(body)), Tags: []storage.Tag{"one-of-two", "two-of-two"}, Body: body,
	})

	return err
}

func deleteTag(f *faultRun) error {
	return ignore(f.Delete("a", "old", storage.Precondition{}), storage.ErrManifestUnknown)
}

// deleteOldManifest deletes the manifest of the tag old by its digest, with all tags
// that point to it.
func deleteOldManifest(f *faultRun) error {
	manifest, err := f.Store.GetManifest(f.T.Context(), "a", storage.Reference{Tag: "old"})
	if err != nil {
		return ignore(err, storage.ErrManifestUnknown)
	}

	return ignore(f.Delete("a", manifest.Digest.String(), storage.Precondition{}), storage.ErrManifestUnknown)
}

func mountOldLayer(f *faultRun) error {
	return f.Store.MountBlob(f.T.Context(), "m", oldLayer, "a", "")
}

func bringBack(f *faultRun) error {
	if err := ignore(f.DeleteBlob("a", spare), storage.ErrBlobUnknown); err != nil {
		return err
	}

	_, err := f.TryBlob("a", "spare")

	return err
}

// resumeUpload sends one half of a layer to a process, and the other to the next one.
func resumeUpload(f *faultRun) error {
	status, err := f.Store.StartUpload(f.T.Context(), "a", "")
	if err != nil {
		return err
	}

	if status, err = f.Store.AppendUpload(f.T.Context(), "a", status.ID, chunk("the first half ", 0)); err != nil {
		return err
	}

	if err := f.restart(); err != nil {
		return err
	}

	if status, err = f.Store.StatUpload(f.T.Context(), "a", status.ID); err != nil {
		return err
	}

	const layer = "the first half and the second"

	last := chunk(strings.TrimPrefix(layer, "the first half "), status.Size)
	if _, err := f.Finish("a", status.ID, last, digestOf(layer)); err != nil {
		return err
	}

	_, err = f.TryPush("a", "new", layer)

	return err
}

func chunk(content string, offset int64) storage.Chunk {
	return storage.Chunk{Body: strings.NewReader(content), Offset: offset, Length: int64(len(content))}
}

// writeTheirs writes an image of another program into the repository.
func writeTheirs(f *faultRun) {
	theirs := &layout{World: f.World, t: f.T, memory: f.memory}
	theirs.write("a/index.json", jsonOf(map[string]any{
		"schemaVersion": 2, "manifests": []any{theirs.image("a", "theirs", "their layer")},
	}))
}

// errNotAdopted: while an index.json cannot be taken in, what is known is served.
var errNotAdopted = errors.New("not adopted yet")

func adoptTheirs(f *faultRun) error {
	tags, _, err := f.Store.ListTags(f.T.Context(), "a", "the", -1)
	if err == nil && len(tags) == 0 {
		return errNotAdopted
	}

	return err
}

// stopAndStart ends the process in order, as well as that works, and starts another.
func stopAndStart(f *faultRun) error {
	err := f.Store.Close(context.Background())
	f.World = openProcess(f.T, inOrder(f.T, f.memory))

	return err
}
