package storage_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

func isSync(name string) bool { return name == "sync" }

// slowLoss is a disk whose flush fails once, and that is slow to take in what was
// lost by it.
type slowLoss struct {
	storage.Driver

	fail    atomic.Bool   // the next flush
	losing  chan struct{} // closed when the first mark of damage is about to be written
	goOn    chan struct{} // closed by the test: it may be
	written atomic.Bool
}

func newSlowLoss() *slowLoss {
	return &slowLoss{
		Driver: storagetest.NewMemory().Driver(), losing: make(chan struct{}), goOn: make(chan struct{}),
	}
}

func (s *slowLoss) Sync(ctx context.Context) error {
	if s.fail.CompareAndSwap(true, false) {
		return errors.New("input/output error")
	}

	return s.Driver.Sync(ctx)
}

func (s *slowLoss) Put(ctx context.Context, key string, body []byte) (string, error) {
	if strings.HasPrefix(key, "_damaged/") && s.written.CompareAndSwap(false, true) {
		close(s.losing)
		<-s.goOn
	}

	return s.Driver.Put(ctx, key, body)
}

// duringLoss makes the flush of one push fail and, while what that lost is being
// written down, lets another push begin. It returns what both were told.
func (s *slowLoss) duringLoss(lost, other func() error) (lostErr, otherErr error) {
	lostDone, otherDone := make(chan error), make(chan error)

	s.fail.Store(true)

	go func() { lostDone <- lost() }()

	<-s.losing

	go func() { otherDone <- other() }()

	synctest.Wait() // it is as far as it gets
	close(s.goOn)

	return <-lostDone, <-otherDone
}

// TestFailedFlushLosesAllAtOnce: while what a failed flush has lost is marked key by
// key, none of it can be committed.
func TestFailedFlushLosesAllAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newSlowLoss()
		w := storagetest.OpenOn(t, disk, storagetest.NewMapCache(), quiet)
		w.Push("a", "warm", "warm")
		w.Blob("a", "x")
		w.Blob("a", "y")
		w.Blob("b", "z")

		lost, other := disk.duringLoss(
			func() error {
				_, err := w.TryPush("c", "t", "other")

				return err
			},
			func() error { return tryPut(w, "a", "bad", "y") })

		w.Is(lost, storage.ErrDamaged, "the push whose flush failed")
		isMissing(w, other, "the push of a blob that it lost")
		w.Is(w.Get("a", "bad"), storage.ErrManifestUnknown, "it did not happen")
		w.Push("a", "bad", "y")
		w.Equal(w.Pull("a", digestOf("y")), "y", "pushing it with its blobs heals it")
	})
}

// TestFailedFlushRefusesBoth: two clients push the same image, and the flush of the
// first fails. The second is not told that its image is safe.
func TestFailedFlushRefusesBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newSlowLoss()
		w := storagetest.OpenOn(t, disk, storagetest.NewMapCache(), quiet)
		w.Push("a", "warm", "warm")
		w.Blob("a", "x")

		first, second := disk.duringLoss(
			func() error {
				w.Blob("a", "y")

				return tryPut(w, "a", "first", "y")
			},
			func() error { return tryPut(w, "a", "second", "y") })

		w.Is(first, storage.ErrDamaged, "the first")
		w.True(second != nil, "the second is refused too")
		w.Is(w.Get("a", "first"), storage.ErrManifestUnknown, "its tag")
		w.Is(w.Get("a", "second"), storage.ErrManifestUnknown, "the other's tag")
		w.Push("a", "second", "y")
		w.Equal(w.Pull("a", digestOf("y")), "y", "pushing it again heals it")
	})
}

func isMissing(w *storagetest.World, err error, what string) {
	w.T.Helper()

	var missing *storage.MissingError

	w.True(errors.As(err, &missing), what, err)
}

// TestUploadDoesNotOutliveAFailedFlush: the kernel may have dropped the bytes of an
// upload under way. Nothing can bring them to the disk but sending them again.
func TestUploadDoesNotOutliveAFailedFlush(t *testing.T) {
	const content = "the bytes that the kernel has dropped"

	memory := storagetest.NewMemory()
	fault := storagetest.NewFault(memory.Driver())
	before := openProcess(t, fault)
	before.Push("a", "warm", "warm")

	id, forgotten := before.Start("a"), before.Start("a")
	before.Append("a", id, 0, content)
	before.Append("a", forgotten, 0, content)
	fault.FailAt(1, storagetest.NotDone, isSync)

	_, err := before.TryPush("b", "x", "x")
	before.Is(err, storage.ErrDamaged, "another's push meets the failure")

	_, err = before.Finish("a", id, storage.Chunk{Offset: -1}, digestOf(content))
	before.Is(err, storage.ErrUploadUnknown, "finishing the upload")
	kill(before)

	after := storagetest.OpenOn(t, memory.Driver(), storagetest.NewMapCache(), quiet)
	_, err = after.Finish("a", forgotten, storage.Chunk{Offset: -1}, digestOf(content))
	after.Is(err, storage.ErrUploadUnknown, "finishing another one, after a restart")
	after.Push("a", "t", content)
	after.Equal(after.Pull("a", digestOf(content)), content, "the client begins again")
}

// TestRetriedUploadIsFlushed: an upload was committed though its client was told that
// it was not. When it comes again, its bytes are known, but not on disk yet.
func TestRetriedUploadIsFlushed(t *testing.T) {
	memory := storagetest.NewMemory()
	fault := storagetest.NewFault(inOrder(t, memory))
	w := storagetest.OpenOn(t, fault, storagetest.NewMapCache(), quiet)
	w.Blob("a", "{}")
	w.Blob("a", "layer")
	w.NoError(tryPut(w, "a", "before", "layer"), "the manifest, so that only the layer is to be flushed below")
	w.NoError(w.Driver.Delete(t.Context(), storage.BlobKey("a", digestOf("layer"))), "someone deletes the layer")
	w.NoError(w.Driver.Sync(t.Context()), "for good")
	fault.FailAt(1, storagetest.DoneButFailed, func(name string) bool { return strings.HasPrefix(name, "commit upload") })

	_, err := w.TryBlob("a", "layer")
	w.Is(err, storagetest.ErrInjected, "the first try")
	w.Blob("a", "layer")
	w.NoError(tryPut(w, "a", "t", "layer"), "the manifest again")
	memory.Crash()

	again := storagetest.OpenOn(t, memory.Driver(), storagetest.NewMapCache(), quiet)
	again.Equal(again.Pull("a", digestOf("layer")), "layer", "after a power cut")
}

// TestServedIsDurable: whatever the client was told, what others can see of it does
// not go with the power.
func TestServedIsDurable(t *testing.T) {
	for name, push := range map[string]func(*testing.T, *storagetest.Memory) *storagetest.World{
		"a first push whose last flush failed":             pushToFailedFlush,
		"a push that was killed before its flush":          pushKilledBefore,
		"a push to a repository that a kill -9 closed":     pushTwiceKilledBefore,
		"a first push whose flush was reported as failed":  pushToReportedFlush,
		"a push whose last flush failed, in memory before": pushToFailedFlushWarm,
	} {
		t.Run(name, func(t *testing.T) {
			memory := storagetest.NewMemory()
			w := push(t, memory)
			served := w.Get("a", "t") == nil
			t.Log("served:", served)
			memory.Crash()

			again := storagetest.OpenOn(t, memory.Driver(), storagetest.NewMapCache(), quiet)
			if err := again.Get("a", "t"); served && err != nil {
				t.Errorf("it was served; after a power cut: %v", err)
			}

			if served {
				again.Equal(again.Pull("a", digestOf("layer")), "layer", "its layer")
			}
		})
	}
}

func pushToFailedFlush(t *testing.T, memory *storagetest.Memory) *storagetest.World {
	t.Helper()

	return pushFailingAt(t, memory, storagetest.NotDone, "elsewhere")
}

func pushToReportedFlush(t *testing.T, memory *storagetest.Memory) *storagetest.World {
	t.Helper()

	return pushFailingAt(t, memory, storagetest.DoneButFailed, "elsewhere")
}

func pushToFailedFlushWarm(t *testing.T, memory *storagetest.Memory) *storagetest.World {
	t.Helper()

	return pushFailingAt(t, memory, storagetest.NotDone, "a")
}

// pushFailingAt fails the second flush of a push, that of its record, after one to
// warm has succeeded.
func pushFailingAt(
	t *testing.T, memory *storagetest.Memory, mode storagetest.FaultMode, warm storage.RepoName,
) *storagetest.World {
	t.Helper()

	fault := storagetest.NewFault(memory.Driver())
	w := openProcess(t, fault)
	kill(w)
	w.Push(warm, "warm", "warm")
	fault.FailAt(2, mode, isSync)

	_, err := w.TryPush("a", "t", "layer")
	w.Is(err, storage.ErrDamaged, "the push is refused")
	w.Equal(fault.Hit(), "sync", "what failed")
	fault.FailAt(0, storagetest.NotDone, nil)

	return w
}

func pushKilledBefore(t *testing.T, memory *storagetest.Memory) *storagetest.World {
	t.Helper()

	dead := openProcess(t, neverOnDisk{memory.Driver()})
	kill(dead)
	dead.Push("a", "t", "layer")

	return storagetest.OpenOn(t, memory.Driver(), storagetest.NewMapCache(), quiet)
}

func pushTwiceKilledBefore(t *testing.T, memory *storagetest.Memory) *storagetest.World {
	t.Helper()

	first := openProcess(t, memory.Driver())
	first.Push("a", "warm", "warm")
	mustClose(first)

	return pushKilledBefore(t, memory)
}

// neverOnDisk is the driver of a process that dies before each flush.
type neverOnDisk struct{ storage.Driver }

func (neverOnDisk) Sync(context.Context) error { return nil }
