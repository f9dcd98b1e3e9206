package storage_test

import (
	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

func deleteOld(f *faultRun) { f.NoError(deleteOldManifest(f), "delete the manifest") }

// undoOld brings the tag back. To undo twice would delete it again.
func undoOld(f *faultRun) error {
	if f.Get("a", "old") == nil {
		return nil
	}

	_, err := f.Store.UndoTag(f.T.Context(), "a", "old", "admin")

	return err
}

func deleteAll(f *faultRun) { f.NoError(deleteRepo(f), "delete the repository") }

func undeleteAll(f *faultRun) error {
	if f.Get("a", "old") == nil {
		return nil
	}

	_, err := f.Store.Undelete(f.T.Context(), "a", "", "admin")

	return err
}

func deleteRepo(f *faultRun) error {
	return ignore(f.Store.DeleteRepo(f.T.Context(), "a", "admin"), storage.ErrRepoUnknown)
}

func purgeOldLayer(f *faultRun) error {
	_, err := f.Store.Purge(f.T.Context(), "a", oldLayer, storage.PurgeOptions{Force: true}, "admin")

	return ignore(err, storage.ErrBlobUnknown)
}

// isPurged checks that neither the image nor the layer is left, also in the driver.
func isPurged(w *storagetest.World) {
	w.T.Helper()
	w.Equal(w.Tags("a", "", -1), "", "tags in the end")
	w.Is(w.Stat("a", oldLayer), storage.ErrBlobUnknown, "HEAD of the layer")

	_, err := w.Driver.Stat(w.T.Context(), storage.BlobKey("a", oldLayer))
	w.True(err != nil, "the driver has nothing of the layer")
}
