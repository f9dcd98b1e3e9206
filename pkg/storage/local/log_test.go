package local

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	. "github.com/smartystreets/goconvey/convey"

	"zotregistry.io/zot/pkg/storage"
)

func record(seq uint64) storage.Record {
	return storage.Record{
		Seq: seq, Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Ops: []storage.Op{{Kind: storage.OpSetTag, Tag: "tag", Digest: digest.FromString(fmt.Sprint(seq))}},
	}
}

// openLog opens and loads the log of the repository a; the test closes it.
func openLog(t *testing.T, root *Root) *repoLog {
	t.Helper()

	log, err := root.OpenLog(t.Context(), "a/")
	must(t, err)
	t.Cleanup(func() { must(t, log.Close()) })

	l := log.(*repoLog)
	must(t, reload(t, l))

	return l
}

func reload(t *testing.T, l *repoLog) error {
	t.Helper()

	_, err := numbers(t, l)

	return err
}

// numbers loads a log, and returns the numbers of its records.
func numbers(t *testing.T, l *repoLog) ([]uint64, error) {
	t.Helper()

	loaded, err := l.Load(t.Context())
	if err != nil {
		return nil, err
	}

	if loaded.Checkpoint != nil {
		must(t, loaded.Checkpoint.Close())
	}

	var seqs []uint64
	for _, r := range loaded.Tail {
		seqs = append(seqs, r.Seq)
	}

	return seqs, nil
}

// wantNumbers checks what a process that starts now would find.
func wantNumbers(t *testing.T, root *Root, want ...uint64) {
	t.Helper()

	log, err := root.OpenLog(t.Context(), "a/")
	must(t, err)

	got, err := numbers(t, log.(*repoLog))
	must(t, err)
	must(t, log.Close())

	if !slices.Equal(got, want) {
		t.Fatalf("the log has the records %d, want %d", got, want)
	}
}

func mustAppend(t *testing.T, l *repoLog, seqs ...uint64) {
	t.Helper()

	for _, seq := range seqs {
		must(t, l.Append(t.Context(), []storage.Record{record(seq)}))
		must(t, l.root.Sync(t.Context()))
	}
}

func mustCheckpoint(t *testing.T, l *repoLog, seq uint64) {
	t.Helper()
	must(t, l.Checkpoint(t.Context(), seq, content("state", seq), content("index", seq)))
}

func content(what string, seq uint64) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := fmt.Fprint(w, what, " ", seq)

		return err
	}
}

// logFiles lists the files of the repository a.
func logFiles(t *testing.T, root *Root) []string {
	t.Helper()

	var files []string

	dir := filepath.Join(root.path, "a")
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}

		rel, err := filepath.Rel(dir, path)
		files = append(files, rel)

		return err
	}))

	return files
}

func TestLogFiles(t *testing.T) {
	Convey("Given a log", t, func() {
		root := openTemp(t)
		l := openLog(t, root)

		Convey("the first append makes a layout and a journal", func() {
			mustAppend(t, l, 1, 2)
			So(logFiles(t, root), ShouldResemble, []string{".zot/journal-00000000000000000001.log", "oci-layout"})

			layout, err := os.ReadFile(filepath.Join(root.path, "a/oci-layout"))
			So(err, ShouldBeNil)
			So(string(layout), ShouldEqual, `{"imageLayoutVersion":"1.0.0"}`)
		})

		Convey("a checkpoint makes history of what it covers, and keeps one before it", func() {
			mustAppend(t, l, 1, 2)
			mustCheckpoint(t, l, 2)
			So(logFiles(t, root), ShouldResemble, []string{
				".zot/checkpoint-00000000000000000002.json",
				".zot/history-00000000000000000001-00000000000000000002.log", "index.json", "oci-layout",
			})

			mustAppend(t, l, 3, 4)
			mustCheckpoint(t, l, 3)
			mustAppend(t, l, 5)
			mustCheckpoint(t, l, 5)
			So(logFiles(t, root), ShouldResemble, []string{
				".zot/checkpoint-00000000000000000003.json", ".zot/checkpoint-00000000000000000005.json",
				".zot/history-00000000000000000001-00000000000000000002.log",
				".zot/history-00000000000000000003-00000000000000000004.log",
				".zot/history-00000000000000000005-00000000000000000005.log", "index.json", "oci-layout",
			})
			wantTempEmpty(t, root)
		})

		Convey("a journal goes on after a restart", func() {
			mustAppend(t, l, 1)
			mustAppend(t, openLog(t, root), 2)
			mustAppend(t, openLog(t, root), 3)
			So(logFiles(t, root), ShouldResemble, []string{".zot/journal-00000000000000000001.log", "oci-layout"})
			wantNumbers(t, root, 1, 2, 3)
		})

		Convey("an oci-layout that is there stays", func() {
			So(errorOf(root.Put(t.Context(), "a/oci-layout", []byte("foreign"))), ShouldBeNil)
			mustAppend(t, l, 1)

			layout, err := os.ReadFile(filepath.Join(root.path, "a/oci-layout"))
			So(err, ShouldBeNil)
			So(string(layout), ShouldEqual, "foreign")
		})

		Convey("a number that was used and flushed long ago is refused", func() {
			mustAppend(t, l, 1, 2, 3)
			So(l.Append(t.Context(), []storage.Record{record(2)}), ShouldNotBeNil)
			mustCheckpoint(t, l, 3)
			So(l.Append(t.Context(), []storage.Record{record(3)}), ShouldNotBeNil)
			mustAppend(t, l, 4)
		})
	})
}

// A write that fails leaves the log as it was, and the batch can come again.
func TestAppendFails(t *testing.T) {
	Convey("Given a log whose journal cannot be written", t, func() {
		root := openTemp(t)
		l := openLog(t, root)
		mustAppend(t, l, 1, 2)

		Convey("by a write that fails", func() {
			So(l.file.Close(), ShouldBeNil)

			readOnly, err := os.Open(l.journalPath(l.tail.file))
			So(err, ShouldBeNil)

			l.file = readOnly
			So(l.Append(t.Context(), []storage.Record{record(3)}), ShouldNotBeNil)
		})

		Convey("by a new journal that cannot be made", func() {
			mustCheckpoint(t, l, 2)

			temp := filepath.Join(root.path, tempDir)
			So(os.RemoveAll(temp), ShouldBeNil)
			So(os.WriteFile(temp, nil, 0o600), ShouldBeNil)
			So(l.Append(t.Context(), []storage.Record{record(3)}), ShouldNotBeNil)
			So(os.Remove(temp), ShouldBeNil) // the next append makes the directory again
		})

		Convey("by a new journal that cannot be put in its place", func() {
			mustCheckpoint(t, l, 2)

			inTheWay := l.journalPath(formatName(journalPrefix, 3, journalSuffix))
			So(os.MkdirAll(inTheWay+"/x", 0o700), ShouldBeNil)
			So(l.Append(t.Context(), []storage.Record{record(3)}), ShouldNotBeNil)
			So(os.RemoveAll(inTheWay), ShouldBeNil)
		})

		before, err := numbers(t, l)
		So(err, ShouldBeNil)

		mustAppend(t, l, 3, 4)
		wantNumbers(t, root, append(before, 3, 4)...)
		wantTempEmpty(t, root)
	})
}

// A batch whose flush failed may be on disk, whole or in part, whatever was done to
// the file later: a later journal leaves it out.
func TestDoubtfulBatch(t *testing.T) {
	Convey("Given a batch whose flush failed, and that came again", t, func() {
		root := openTemp(t)
		l := openLog(t, root)
		mustAppend(t, l, 1, 2)
		must(t, l.Append(t.Context(), []storage.Record{record(3)}))

		journal := l.journalPath(l.tail.file)
		whole, err := os.ReadFile(journal)
		So(err, ShouldBeNil)

		kept := int(l.before.size)
		mustAppend(t, l, 3, 4)

		Convey("it does not count, however much of it is there", func() {
			for size := kept; size <= len(whole); size++ {
				So(os.WriteFile(journal, whole[:size], 0o600), ShouldBeNil)
				wantNumbers(t, root, 1, 2, 3, 4)
			}
		})

		Convey("garbage in its place does not count either", func() {
			So(os.WriteFile(journal, append(whole[:kept:kept], "garbage\nlines\n"...), 0o600), ShouldBeNil)
			wantNumbers(t, root, 1, 2, 3, 4)
		})

		Convey("but what counts must be there", func() {
			So(os.WriteFile(journal, whole[:kept-1], 0o600), ShouldBeNil)
			So(reload(t, l), ShouldWrap, storage.ErrDamaged)
		})

		Convey("and a checkpoint makes history of both journals", func() {
			mustCheckpoint(t, l, 4)
			So(logFiles(t, root), ShouldResemble, []string{
				".zot/checkpoint-00000000000000000004.json",
				".zot/history-00000000000000000001-00000000000000000002.log",
				".zot/history-00000000000000000003-00000000000000000004.log", "index.json", "oci-layout",
			})
			wantHistory(t, l, 1, 2, 3, 4)
		})
	})
}

func TestRefreshIsCheap(t *testing.T) {
	root := openTemp(t)
	l := openLog(t, root)
	mustAppend(t, l, 1)
	mustCheckpoint(t, l, 1)

	allocs := testing.AllocsPerRun(100, func() {
		if changes, err := l.Refresh(t.Context(), 1, time.Now()); err != nil || changes.Index {
			t.Errorf("%+v, %v", changes, err)
		}
	})
	if allocs > 2 {
		t.Errorf("Refresh allocates %.0f times", allocs)
	}
}

// Refresh runs while checkpoints replace index.json, and takes none of them for
// another program's.
func TestRefreshDuringCheckpoints(t *testing.T) {
	root := openTemp(t)
	l := openLog(t, root)
	stop := make(chan struct{})
	done := make(chan error)

	go func() {
		defer close(done)

		for {
			select {
			case <-stop:
				return
			default:
			}

			if changes, err := l.Refresh(t.Context(), 0, time.Now()); err != nil || changes.Index {
				done <- fmt.Errorf("%+v: %w", changes, err)

				return
			}
		}
	}()

	for seq := uint64(1); seq <= 20; seq++ {
		mustAppend(t, l, seq)
		mustCheckpoint(t, l, seq)
	}

	close(stop)

	if err := <-done; err != nil {
		t.Error(err)
	}
}
