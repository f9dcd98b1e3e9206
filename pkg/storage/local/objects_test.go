package local

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	. "github.com/smartystreets/goconvey/convey"
	"golang.org/x/sys/unix"

	"zotregistry.io/zot/pkg/storage"
)

func TestOpenGivesFiles(t *testing.T) {
	Convey("Given an object", t, func() {
		root := openTemp(t)
		So(errorOf(root.Put(t.Context(), "a/b", []byte("0123456789"))), ShouldBeNil)

		open := func(rng storage.Range) *storage.Object {
			object, err := root.Open(t.Context(), "a/b", rng)
			So(err, ShouldBeNil)
			So(object.Close(), ShouldBeNil)

			return object
		}

		Convey("its whole body, and one up to its end, is a file", func() {
			So(open(storage.Whole).Body, ShouldHaveSameTypeAs, &os.File{})
			So(open(storage.Range{Offset: 5, Length: -1}).Body, ShouldHaveSameTypeAs, &os.File{})
			So(open(storage.Range{Offset: 5, Length: 5}).Body, ShouldHaveSameTypeAs, &os.File{})
		})

		Convey("a part is limited over a file, for sendfile", func() {
			limited, ok := open(storage.Range{Offset: 2, Length: 3}).Body.(*io.LimitedReader)
			So(ok, ShouldBeTrue)
			So(limited.R, ShouldHaveSameTypeAs, &os.File{})
			So(limited.N, ShouldEqual, 3)
		})
	})
}

func TestLinkSharesInode(t *testing.T) {
	root := openTemp(t)
	must(t, errorOf(root.Put(t.Context(), "a/1", []byte("one"))))
	must(t, errorOf(root.Put(t.Context(), "b/1", []byte("other"))))
	must(t, errorOf(root.Link(t.Context(), "a/1", "b/1")))
	must(t, errorOf(root.Link(t.Context(), "a/1", "c/1")))

	for _, key := range []string{"b/1", "c/1"} {
		same, err := sameFile(filepath.Join(root.path, "a/1"), filepath.Join(root.path, key))
		must(t, err)

		if !same {
			t.Errorf("%s is no link", key)
		}
	}

	wantTempEmpty(t, root)
}

func TestUnsupported(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EMLINK, unix.EXDEV, unix.EPERM, unix.ENOTSUP, unix.ENOSYS} {
		err := keyError("link", "a to b", unsupported(&os.LinkError{Op: "link", Err: errno}))
		if !errors.Is(err, errors.ErrUnsupported) || !errors.Is(err, errno) {
			t.Errorf("%v is not taken for unsupported", err)
		}
	}

	for _, errno := range []unix.Errno{unix.ENOSPC, unix.EIO, unix.EACCES, unix.ENOENT} {
		if err := unsupported(&os.LinkError{Op: "link", Err: errno}); errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%v is taken for unsupported", err)
		}
	}
}

func TestLongKeys(t *testing.T) {
	root := openTemp(t)
	key := "a/" + strings.Repeat("x", 300)

	if _, err := root.Stat(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat: %v", err)
	}

	must(t, root.Delete(t.Context(), key))

	if _, err := root.Put(t.Context(), key, nil); err == nil {
		t.Error("Put succeeded")
	}

	wantTempEmpty(t, root)
}

func TestListLeavesOut(t *testing.T) {
	Convey("Given a root with files of the driver's and of others", t, func() {
		root := openTemp(t)
		ctx := t.Context()
		path := func(key string) string { return filepath.Join(root.path, key) }

		So(errorOf(root.Put(ctx, "a/blobs/sha256/00", []byte("blob"))), ShouldBeNil)
		So(os.MkdirAll(path("a/.zot"), 0o700), ShouldBeNil)
		So(os.WriteFile(path("a/.zot/journal-x"), nil, 0o600), ShouldBeNil)
		So(os.MkdirAll(path("lost+found"), 0), ShouldBeNil)
		So(os.Symlink("00", path("a/blobs/sha256/link")), ShouldBeNil)
		So(os.Symlink("nowhere", path("a/blobs/sha256/dangling")), ShouldBeNil)
		So(os.Symlink("..", path("a/loop")), ShouldBeNil)
		So(unix.Mkfifo(path("a/pipe"), 0o600), ShouldBeNil)

		Convey("the list has files only, and no links", func() {
			var got []string
			for info, err := range root.List(ctx, "", "") {
				So(err, ShouldBeNil)
				got = append(got, info.Key+" "+strconv.FormatInt(info.Size, 10))
			}

			So(got, ShouldResemble, []string{"a/blobs/sha256/00 4"})
		})

		Convey("what a link leads to is not there", func() {
			So(errorOf(root.Link(ctx, "a/blobs/sha256/link", "b/copy")), ShouldWrap, fs.ErrNotExist)
			_, err := root.Open(ctx, "a/blobs/sha256/link", storage.Whole)
			So(err, ShouldWrap, fs.ErrNotExist)
			_, err = root.Stat(ctx, "a/blobs/sha256/link")
			So(err, ShouldWrap, fs.ErrNotExist)
		})

		Convey("what is behind a link to a directory is refused", func() {
			_, err := root.Stat(ctx, "a/loop/a/blobs/sha256/00")
			So(err, ShouldWrap, storage.ErrDamaged)
			So(errorOf(root.Put(ctx, "a/loop/x", nil)), ShouldWrap, storage.ErrDamaged)
		})

		Convey("a prefix that is no directory is an error", func() {
			for _, prefix := range []string{"a", "/", "../", "a//"} {
				for _, err := range root.List(ctx, prefix, "") {
					So(err, ShouldWrap, fs.ErrInvalid)
				}
			}
		})
	})
}
