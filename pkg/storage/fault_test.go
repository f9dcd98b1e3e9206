package storage_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// TestFaults lets each operation of the driver fail, one after the other, while an
// image is pushed, tagged, mounted and deleted. Whatever failed, a retry succeeds,
// what was acknowledged before is there, and nothing half-done can be read.
func TestFaults(t *testing.T) {
	for name, step := range map[string]func(w *storagetest.World) error{
		"push": func(w *storagetest.World) error {
			_, err := w.TryPush("a", "new", "new layer")

			return err
		},
		"push to a new repository": func(w *storagetest.World) error {
			_, err := w.TryPush("n/e/w", "new", "new layer")

			return err
		},
		"tag": func(w *storagetest.World) error {
			_, err := w.TryPush("a", "new", "old layer")

			return err
		},
		"delete a tag": func(w *storagetest.World) error {
			return ignore(w.Delete("a", "old", storage.Precondition{}), storage.ErrManifestUnknown)
		},
		"mount": func(w *storagetest.World) error {
			return w.Store.MountBlob(w.T.Context(), "m", oldLayer, "a", "")
		},
		"bring a deleted blob back": func(w *storagetest.World) error {
			if err := ignore(w.DeleteBlob("a", spare), storage.ErrBlobUnknown); err != nil {
				return err
			}

			_, err := w.TryBlob("a", "spare")

			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			storagetest.EachFault(t, func(t *testing.T, n int, mode storagetest.FaultMode) *storagetest.Fault {
				return faultRun(t, n, mode, step)
			})
		})
	}
}

func faultRun(t *testing.T, n int, mode storagetest.FaultMode, step func(*storagetest.World) error) *storagetest.Fault {
	t.Helper()

	memory := storagetest.NewMemory()
	fault := storagetest.NewFault(memory.Driver())

	store, err := storage.Open(t.Context(), fault, storagetest.NewMapCache(), storage.Options{Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}

	w := &storagetest.World{T: t, Driver: memory.Driver(), Store: store}
	w.Push("a", "old", "old layer")
	w.Blob("a", "spare")

	var armed atomic.Bool

	armed.Store(true)
	fault.FailAt(n, mode, func(string) bool { return armed.Load() })

	failed := step(w)
	hit := fault.Hit()

	armed.Store(false)
	checkNothingHalf(w)

	if err := step(w); err != nil {
		t.Errorf("after %q failed (%v) the retry failed: %v", hit, failed, err)
	}

	checkNothingHalf(w)

	if err := store.Close(context.Background()); err != nil {
		t.Errorf("close: %v", err)
	}

	memory.Crash()

	again := storagetest.OpenOn(t, memory.Driver(), storagetest.NewMapCache(), storage.Options{Log: zerolog.Nop()})
	checkNothingHalf(again)

	return fault
}

var (
	oldLayer = digest.FromString("old layer")
	spare    = digest.FromString("spare")
)

func digestOf(content string) digest.Digest { return digest.FromString(content) }

func ignore(err, target error) error {
	if errors.Is(err, target) {
		return nil
	}

	return err
}

// checkNothingHalf pulls every tag there is, with all that its manifest names.
func checkNothingHalf(w *storagetest.World) {
	w.T.Helper()

	for _, repo := range []storage.RepoName{"a", "m", "n/e/w"} {
		tags, _, err := w.Store.ListTags(w.T.Context(), repo, "", -1)
		if errors.Is(err, storage.ErrRepoUnknown) {
			continue
		}

		w.NoError(err, "list tags")

		for _, tag := range tags {
			checkImage(w, repo, w.MustGet(repo, string(tag)))
		}
	}
}

func checkImage(w *storagetest.World, repo storage.RepoName, manifest storage.Manifest) {
	w.T.Helper()
	w.Equal(digest.FromBytes(manifest.Body), manifest.Digest, "bytes of the manifest")

	var named struct {
		Layers []storage.Descriptor `json:"layers"`
	}

	w.NoError(json.Unmarshal(manifest.Body, &named), "parse manifest")

	for _, layer := range named.Layers {
		w.Equal(digest.FromString(w.Pull(repo, layer.Digest)), layer.Digest, "bytes of a layer")
	}
}
