package local

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	. "github.com/smartystreets/goconvey/convey"
)

func TestCheckpointCrash(t *testing.T) {
	root := openTemp(t)
	l := openLog(t, root)
	mustAppend(t, l, 1, 2)
	mustCheckpoint(t, l, 2)
	mustAppend(t, l, 3, 4)

	var states []string

	flush := root.flush.whole
	snapshot := func() {
		dir := t.TempDir()
		must(t, os.CopyFS(dir, os.DirFS(root.path)))
		states = append(states, dir)
	}
	root.flush.whole = func(dir *os.File) error {
		snapshot()

		return flush(dir)
	}
	during := func(write func(io.Writer) error) func(io.Writer) error {
		return func(w io.Writer) error {
			snapshot()

			return write(w)
		}
	}

	must(t, l.Checkpoint(t.Context(), 4, during(content("state", 4)), during(content("index", 4))))
	snapshot()

	if len(states) != 5 {
		t.Fatalf("%d states, want those at 2 writes, 2 flushes and the end", len(states))
	}

	// Between the two renames, whichever the disk saw first.
	for file, body := range map[string]string{
		".zot/checkpoint-00000000000000000004.json": "state 4", "index.json": "index 4",
	} {
		dir := t.TempDir()
		must(t, os.CopyFS(dir, os.DirFS(states[2])))
		must(t, os.WriteFile(filepath.Join(dir, "a", file), []byte(body), 0o600))
		t.Run("renamed "+file, func(t *testing.T) { wantEither(t, dir, file != "index.json", true) })
	}

	for i, dir := range states {
		t.Run(fmt.Sprint(i), func(t *testing.T) { wantEither(t, dir, i >= 3, i < 4) })
	}
}

// wantEither checks that a root has the checkpoint of after or before, with the
// records behind it, and goes on from there.
func wantEither(t *testing.T, dir string, after, records bool) {
	t.Helper()

	root := mustOpen(t, dir)
	defer func() { must(t, root.Close()) }()

	log, err := root.OpenLog(t.Context(), "a/")
	must(t, err)

	loaded, err := log.Load(t.Context())
	must(t, err)

	state, err := io.ReadAll(loaded.Checkpoint)
	must(t, errors.Join(err, loaded.Checkpoint.Close()))

	want := "state 2"
	if after {
		want = "state 4"
	}

	if string(state) != want {
		t.Errorf("checkpoint is %q, want %q", state, want)
	}

	if there := len(loaded.Tail) == 2 && loaded.Tail[0].Seq == 3 && loaded.Tail[1].Seq == 4; there != records {
		t.Errorf("tail is %+v; the records 3 and 4 should be there: %t", loaded.Tail, records)
	}

	l := log.(*repoLog)
	takeIndex(t, l)
	mustAppend(t, l, 5)
	mustCheckpoint(t, l, 5)
	must(t, log.Close())
	wantNumbers(t, root)
	wantTempEmpty(t, root)
}

// takeIndex takes in index.json, as the engine does before its first checkpoint.
func takeIndex(t *testing.T, l *repoLog) {
	t.Helper()

	index, err := l.OpenIndex(t.Context())
	must(t, err)
	must(t, index.Close())
	l.TookIndex(index.Version)
}

// A checkpoint that could not be flushed drops nothing.
func TestCheckpointFlushFails(t *testing.T) {
	Convey("Given a log", t, func() {
		root := openTemp(t)
		l := openLog(t, root)
		mustAppend(t, l, 1, 2)

		broken := errors.New("disk on fire")
		whole := root.flush.whole
		failAt := func(n int) {
			root.flush.whole = func(dir *os.File) error {
				if n--; n == 0 {
					return broken
				}

				return whole(dir)
			}
		}

		for n := 1; n <= 2; n++ {
			Convey(fmt.Sprintf("a checkpoint whose flush %d fails drops nothing", n), func() {
				failAt(n)
				So(l.Checkpoint(t.Context(), 2, content("state", 2), content("index", 2)), ShouldWrap, broken)
				wantNumbers(t, root, 1, 2)
				wantTempEmpty(t, root)

				Convey("and the next one succeeds", func() {
					failAt(0)
					mustCheckpoint(t, l, 2)
					wantNumbers(t, root)
				})
			})
		}
	})
}
