package local

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	. "github.com/smartystreets/goconvey/convey"
)

func endedContext(t *testing.T) context.Context {
	t.Helper()

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	return ctx
}

// heldFlusher is a flusher whose flushes begin and end when the test says so.
type heldFlusher struct {
	*flusher

	begun chan struct{}
	end   chan error
}

func newHeldFlusher(t *testing.T) heldFlusher {
	t.Helper()

	dir, err := os.Open(t.TempDir())
	must(t, err)

	h := heldFlusher{begun: make(chan struct{}), end: make(chan error)}
	h.flusher = &flusher{dir: dir, written: map[string]struct{}{}, whole: func(*os.File) error {
		h.begun <- struct{}{}

		return <-h.end
	}}
	t.Cleanup(func() { must(t, h.close()) })

	return h
}

func TestSyncIsShared(t *testing.T) {
	Convey("Given a flush that is under way", t, func() {
		h := newHeldFlusher(t)
		first := h.join()
		<-h.begun

		Convey("all who come meanwhile share the next one, and its error", func() {
			second := h.join()
			So(second, ShouldNotEqual, first)

			for range 100 {
				So(h.join(), ShouldEqual, second)
			}

			h.end <- nil
			<-h.begun
			<-first.done
			So(first.err, ShouldBeNil)

			third := h.join() // too late for the second
			So(third, ShouldNotEqual, second)

			broken := errors.New("disk on fire")
			h.end <- broken
			<-second.done
			So(second.err, ShouldWrap, broken)

			<-h.begun
			h.end <- nil
			<-third.done
			So(third.err, ShouldBeNil)
			So(h.flushes, ShouldEqual, 3)
		})

		Convey("a caller whose context ends stops waiting; the flush goes on", func() {
			So(h.sync(endedContext(t)), ShouldWrap, context.Canceled)
			h.end <- nil
			<-h.begun // the one that nobody waits for any more
			h.end <- nil
			h.running.Wait()
			So(first.err, ShouldBeNil)
			So(h.flushes, ShouldEqual, 2)
		})
	})
}

// 100 callers at once need few flushes, and each gets one that began after its call.
func TestSyncConcurrent(t *testing.T) {
	root := openTemp(t)

	var callers sync.WaitGroup

	for range 100 {
		callers.Go(func() {
			if err := root.Sync(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}

	callers.Wait()
	root.flush.running.Wait()

	if n := root.flush.flushes; n < 1 || n > 60 {
		t.Errorf("%d flushes for 100 callers", n)
	}
}

func TestFailedFlushIsTold(t *testing.T) {
	Convey("Given a flush that fails while nobody who keeps account listens", t, func() {
		root := openTemp(t)
		flush := root.flush.whole
		broken := errors.New("disk on fire")
		root.flush.whole = func(*os.File) error { return broken }

		So(root.flush.flush(t.Context()), ShouldWrap, broken)

		root.flush.whole = flush

		Convey("the next Sync tells of it, once", func() {
			So(root.Sync(t.Context()), ShouldWrap, broken)
			So(root.Sync(t.Context()), ShouldBeNil)
		})
	})
}

func TestSyncWithoutCommit(t *testing.T) {
	root := openTemp(t)
	root.commit = false
	must(t, root.Put(t.Context(), "a/b", nil))
	must(t, root.Sync(t.Context()))

	if root.flush.flushes != 0 {
		t.Error("flushed without commit")
	}
}

// File by file, a flush includes each file and directory that changed, under the
// name that it has by then.
func TestFlushFileByFile(t *testing.T) {
	root := openTemp(t)
	root.flush.whole = nil

	var flushed []string

	root.flush.each = func(paths ...string) error {
		for _, path := range paths {
			rel, err := filepath.Rel(root.path, path)
			must(t, err)

			flushed = append(flushed, rel)
		}

		return syncPath(paths...)
	}

	synced := func() []string {
		flushed = nil
		must(t, root.Sync(t.Context()))
		slices.Sort(flushed)

		return flushed
	}

	Convey("Given a root without syncfs", t, func() {
		So(root.Put(t.Context(), "a/b/c", nil), ShouldBeNil)
		So(synced(), ShouldResemble, []string{".", "_tmp", "a", "a/b", "a/b/c"})
		So(synced(), ShouldBeEmpty)

		So(root.Link(t.Context(), "a/b/c", "a/d"), ShouldBeNil)
		So(synced(), ShouldResemble, []string{"a", "a/d"})

		So(root.Delete(t.Context(), "a/d"), ShouldBeNil)
		So(synced(), ShouldResemble, []string{"a"})

		up, err := root.CreateUpload(t.Context(), "a/.uploads/1")
		So(err, ShouldBeNil)
		So(up.Append(t.Context(), []byte("x")), ShouldBeNil)
		So(up.Commit(t.Context(), "a/e"), ShouldBeNil)
		So(synced(), ShouldContain, "a/e")
	})
}

func TestSyncPath(t *testing.T) {
	dir := t.TempDir()
	must(t, syncPath(dir, filepath.Join(dir, "gone")))

	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o600))

	if err := syncPath(filepath.Join(file, "below")); err == nil {
		t.Error("a path below a file was flushed")
	}
}
