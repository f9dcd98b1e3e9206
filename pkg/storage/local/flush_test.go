package local

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	. "github.com/smartystreets/goconvey/convey"
)

func TestFailedFlushIsTold(t *testing.T) {
	Convey("Given a flush that fails while nobody who keeps account listens", t, func() {
		root := openTemp(t)
		flush := root.flush.whole
		broken := errors.New("disk on fire")
		root.flush.whole = func(*os.File) error { return broken }

		So(root.flush.flush(), ShouldWrap, broken)

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
	must(t, errorOf(root.Put(t.Context(), "a/b", nil)))
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
		So(errorOf(root.Put(t.Context(), "a/b/c", nil)), ShouldBeNil)
		So(synced(), ShouldResemble, []string{".", "_tmp", "a", "a/b", "a/b/c"})
		So(synced(), ShouldBeEmpty)

		So(errorOf(root.Link(t.Context(), "a/b/c", "a/d")), ShouldBeNil)
		So(synced(), ShouldResemble, []string{"a", "a/d"})

		So(root.Delete(t.Context(), "a/d"), ShouldBeNil)
		So(synced(), ShouldResemble, []string{"a"})

		up, err := root.CreateUpload(t.Context(), "a/.uploads/1")
		So(err, ShouldBeNil)
		So(up.Append(t.Context(), []byte("x")), ShouldBeNil)
		So(errorOf(up.Commit(t.Context(), "a/e")), ShouldBeNil)
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
