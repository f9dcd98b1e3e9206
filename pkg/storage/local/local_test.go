package local

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	. "github.com/smartystreets/goconvey/convey"
	"go.uber.org/goleak"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mustOpen opens a root that the test closes.
func mustOpen(t *testing.T, path string) *Root {
	t.Helper()

	root, err := OpenRoot(t.Context(), RootOptions{Path: path, Commit: true, Log: zerolog.Nop()})
	must(t, err)

	return root
}

func must(t *testing.T, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}

// openTemp opens a root that is closed at the end of the test.
func openTemp(t *testing.T) *Root {
	t.Helper()

	root := mustOpen(t, t.TempDir())
	t.Cleanup(func() { must(t, root.Close()) })

	return root
}

func TestDriver(t *testing.T) {
	storagetest.TestDriver(t, func(t *testing.T) storage.Driver { return mustOpen(t, t.TempDir()) })
}

// Without syncfs files are flushed one by one.
func TestDriverFileByFile(t *testing.T) {
	storagetest.TestDriver(t, func(t *testing.T) storage.Driver {
		root := mustOpen(t, t.TempDir())
		root.flush.whole = nil

		return root
	})
}

func TestDriverWithoutCommit(t *testing.T) {
	storagetest.TestDriver(t, func(t *testing.T) storage.Driver {
		root := mustOpen(t, t.TempDir())
		root.commit = false

		return root
	})
}

func TestDriverReopen(t *testing.T) {
	storagetest.TestDriverReopen(t, func(t *testing.T) (storage.Driver, func() storage.Driver) {
		dir := t.TempDir()

		return mustOpen(t, dir), func() storage.Driver { return mustOpen(t, dir) }
	})
}

func TestRootFormat(t *testing.T) {
	Convey("Given the root.json of a root", t, func() {
		dir := t.TempDir()
		So(mustOpen(t, dir).Close(), ShouldBeNil)

		open := func(content string) error {
			So(os.WriteFile(formatFile(dir), []byte(content), 0o600), ShouldBeNil)

			root, err := OpenRoot(t.Context(), RootOptions{Path: dir})
			if err == nil {
				err = root.Close()
			}

			return err
		}

		Convey("a newer format is refused, and nothing is written", func() {
			left := filepath.Join(dir, tempDir, "left")
			So(os.WriteFile(left, nil, 0o600), ShouldBeNil)
			So(open(`{"version":2,"id":"x"}`), ShouldWrap, storage.ErrFormat)
			So(exists(left), ShouldBeTrue)
		})

		Convey("a damaged one is refused", func() {
			for _, content := range []string{"", "{", `{"version":1}`, `{"id":"x"}`, `{"version":-1,"id":"x"}`} {
				So(open(content), ShouldWrap, storage.ErrDamaged)
			}
		})

		Convey("the present one is opened", func() {
			So(open(`{"version":1,"id":"x"}`), ShouldBeNil)
		})
	})
}

func TestOpenRootEmptiesTemp(t *testing.T) {
	dir := t.TempDir()
	must(t, mustOpen(t, dir).Close())
	must(t, os.WriteFile(filepath.Join(dir, tempDir, "left"), []byte("half"), 0o600))

	root := mustOpen(t, dir)
	defer func() { must(t, root.Close()) }()

	wantTempEmpty(t, root)
}

// wantTempEmpty checks that nothing is left in _tmp.
func wantTempEmpty(t *testing.T, root *Root) {
	t.Helper()

	left, err := os.ReadDir(filepath.Join(root.path, tempDir))
	must(t, err)

	if len(left) > 0 {
		t.Errorf("%d files left in _tmp, the first is %s", len(left), left[0].Name())
	}
}

func TestOpenRootFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))

	if _, err := OpenRoot(t.Context(), RootOptions{Path: filepath.Join(file, "root")}); err == nil {
		t.Error("a root below a file was opened")
	}
}

func TestModes(t *testing.T) {
	root := openTemp(t)
	must(t, errorOf(root.Put(t.Context(), "a/b", nil)))

	for path, want := range map[string]os.FileMode{"a": 0o700, "a/b": 0o600, tempDir: 0o700} {
		stat, err := os.Stat(filepath.Join(root.path, path))
		must(t, err)

		if stat.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", path, stat.Mode().Perm(), want)
		}
	}
}

func TestLock(t *testing.T) {
	Convey("Given a root that is open", t, func() {
		dir := t.TempDir()
		first := mustOpen(t, dir)

		Convey("a second opener is told which file is locked, and by whom", func() {
			_, err := OpenRoot(t.Context(), RootOptions{Path: dir, LockWait: time.Millisecond})

			var locked *LockedError
			So(errors.As(err, &locked), ShouldBeTrue)
			So(locked.Path, ShouldEqual, filepath.Join(dir, lockName))
			So(locked.PID, ShouldEqual, os.Getpid())
			So(err.Error(), ShouldContainSubstring, locked.Path)
			So(first.Close(), ShouldBeNil)
		})

		Convey("one that waits says so, and gets it when the first leaves", func() {
			log := &lineWriter{lines: make(chan string, 16)}
			opened := make(chan error, 1)

			go func() {
				root, err := OpenRoot(t.Context(), RootOptions{
					Path: dir, LockWait: time.Minute, Log: zerolog.New(log),
				})
				if err == nil {
					err = root.Close()
				}

				opened <- err
			}()

			So(<-log.lines, ShouldContainSubstring, "waiting for another process")
			So(first.Close(), ShouldBeNil)
			So(<-opened, ShouldBeNil)
		})

		Convey("one whose context ends stops waiting", func() {
			_, err := OpenRoot(endedContext(t), RootOptions{Path: dir, LockWait: time.Minute})
			So(err, ShouldNotBeNil)
			So(errors.As(err, new(*LockedError)), ShouldBeFalse)
			So(first.Close(), ShouldBeNil)
		})
	})
}

// lineWriter hands on each line of a log.
type lineWriter struct{ lines chan string }

func (w *lineWriter) Write(p []byte) (int, error) {
	w.lines <- string(p)

	return len(p), nil
}

func TestProbe(t *testing.T) {
	var log bytes.Buffer

	root, err := OpenRoot(t.Context(), RootOptions{Path: t.TempDir(), Commit: true, Log: zerolog.New(&log)})
	must(t, err)
	must(t, root.Close())

	if !strings.Contains(log.String(), "freeBytes") || !strings.Contains(log.String(), "freeInodes") {
		t.Errorf("the probe does not tell of free space: %s", log.String())
	}

	wantTempEmpty(t, root)

	for _, c := range []struct {
		free, all uint64
		want      bool
	}{{0, 0, false}, {0, 1000, true}, {49, 1000, true}, {50, 1000, false}, {1000, 1000, false}} {
		if got := little(c.free, c.all); got != c.want {
			t.Errorf("little(%d, %d) = %t", c.free, c.all, got)
		}
	}
}

func endedContext(t *testing.T) context.Context {
	t.Helper()

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	return ctx
}

// errorOf drops where something was put.
func errorOf(_ string, err error) error { return err }
