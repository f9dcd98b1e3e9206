package storage_test

import (
	"encoding/json"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// TestFaults lets each operation of the driver fail, one after the other, while an
// image is pushed, tagged, mounted and deleted. Whatever failed, a retry succeeds,
// what was acknowledged before is there, and nothing half-done can be read. No record
// is appended before all that it names is on disk.
func TestFaults(t *testing.T) {
	for name, step := range faultSteps() {
		t.Run(name, func(t *testing.T) {
			storagetest.EachFault(t, func(t *testing.T, n int, mode storagetest.FaultMode) *storagetest.Fault {
				return newFaultRun(t).run(step, n, mode)
			})
		})
	}
}

// faultRun is a process and its disk.
type faultRun struct {
	*storagetest.World

	memory *storagetest.Memory
	fault  *storagetest.Fault
}

func newFaultRun(t *testing.T) *faultRun {
	t.Helper()

	memory := storagetest.NewMemory()
	f := &faultRun{memory: memory, fault: storagetest.NewFault(inOrder(t, memory))}
	f.World = openProcess(t, f.fault)

	return f
}

// restart goes on in a new process, once that has started; the one before was killed.
func (f *faultRun) restart() error {
	store, err := storage.Open(f.T.Context(), f.fault, storagetest.NewMapCache(), quiet)
	if err != nil {
		return err
	}

	kill(f.World)
	f.World = &storagetest.World{T: f.T, Driver: f.fault, Store: store}

	return nil
}

// run does a step twice: once while operation n fails, and once more.
func (f *faultRun) run(step faultStep, n int, mode storagetest.FaultMode) *storagetest.Fault {
	f.T.Helper()
	f.Push("a", "old", "old layer")
	f.Blob("a", "spare")

	if step.before != nil {
		step.before(f)
	}

	var armed atomic.Bool

	armed.Store(true)
	f.fault.FailAt(n, mode, func(string) bool { return armed.Load() })

	failed := step.do(f)
	hit := f.fault.Hit()

	armed.Store(false)
	checkNothingHalf(f.World)

	if err := step.do(f); err != nil {
		f.T.Errorf("after %q failed (%v) the retry failed: %v", hit, failed, err)
	}

	checkNothingHalf(f.World)
	step.checkDone(f.World)
	mustClose(f.World)
	f.memory.Crash()

	again := storagetest.OpenOn(f.T, f.memory.Driver(), storagetest.NewMapCache(), quiet)
	checkNothingHalf(again)
	step.checkDone(again)

	return f.fault
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

		w.Equal(slices.Contains(tags, "one-of-two"), slices.Contains(tags, "two-of-two"), "tags that are pushed together")

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
