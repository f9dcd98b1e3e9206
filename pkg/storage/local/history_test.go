package local

import (
	"os"
	"slices"
	"testing"
	"time"

	. "github.com/smartystreets/goconvey/convey"
)

// wantHistory checks the numbers of all records that a log has.
func wantHistory(t *testing.T, l *repoLog, want ...uint64) {
	t.Helper()

	got := []uint64{}

	for record, err := range l.History(t.Context(), want[len(want)-1]+1) {
		must(t, err)

		got = append(got, record.Seq)
	}

	slices.Reverse(got)
	So(got, ShouldResemble, want)
}

// historyOf lists the names of the files of a history.
func historyOf(t *testing.T, l *repoLog) []string {
	t.Helper()

	files, doubled, err := l.historyFiles()
	must(t, err)

	names := []string{}
	for _, file := range append(files, doubled...) {
		names = append(names, file.name)
	}

	return names
}

// upTo are the numbers 1 to n.
func upTo(n uint64) []uint64 {
	var all []uint64
	for seq := uint64(1); seq <= n; seq++ {
		all = append(all, seq)
	}

	return all
}

func TestHistoryFiles(t *testing.T) {
	Convey("Given a log with a checkpoint after each of 40 records", t, func() {
		root := openTemp(t)
		l := openLog(t, root)

		for seq := uint64(1); seq <= 40; seq++ {
			mustAppend(t, l, seq)
			mustCheckpoint(t, l, seq)
		}

		So(historyOf(t, l), ShouldHaveLength, 40)

		Convey("its small files become one", func() {
			before, err := os.Stat(l.journalPath(historyName(40, 40)))
			So(err, ShouldBeNil)
			So(l.DropHistory(t.Context(), time.Time{}), ShouldBeNil)
			So(historyOf(t, l), ShouldResemble, []string{historyName(1, 40)})
			wantHistory(t, l, upTo(40)...)
			wantTempEmpty(t, root)

			merged, err := os.Stat(l.journalPath(historyName(1, 40)))
			So(err, ShouldBeNil)
			So(merged.ModTime(), ShouldEqual, before.ModTime())

			Convey("and what comes then follows it", func() {
				mustAppend(t, l, 41)
				wantHistory(t, l, upTo(41)...)
				mustCheckpoint(t, l, 41)
				wantHistory(t, l, upTo(41)...)
				wantNumbers(t, root)
			})
		})

		Convey("files that a crash has left beside that one are ignored, and go", func() {
			left, err := os.ReadFile(l.journalPath(historyName(7, 7)))
			So(err, ShouldBeNil)
			So(l.DropHistory(t.Context(), time.Time{}), ShouldBeNil)
			So(os.WriteFile(l.journalPath(historyName(7, 7)), left, 0o600), ShouldBeNil)
			wantHistory(t, l, upTo(40)...)
			So(l.DropHistory(t.Context(), time.Time{}), ShouldBeNil)
			So(historyOf(t, l), ShouldResemble, []string{historyName(1, 40)})
		})

		Convey("only the files that are old go", func() {
			old := time.Now().Add(-time.Hour)
			for _, seq := range []uint64{1, 2, 4} { // 4 lies behind 3, which is young
				So(os.Chtimes(l.journalPath(historyName(seq, seq)), old, old), ShouldBeNil)
			}

			So(l.DropHistory(t.Context(), old.Add(time.Minute)), ShouldBeNil)
			wantHistory(t, l, upTo(40)[2:]...)
		})

		Convey("a reader finds a file that gets another name meanwhile", func() {
			got := []uint64{}

			for record, err := range l.History(t.Context(), 41) {
				must(t, err)

				if record.Seq == 30 {
					So(l.DropHistory(t.Context(), time.Time{}), ShouldBeNil)
				}

				got = append(got, record.Seq)
			}

			slices.Reverse(got)
			So(got, ShouldResemble, upTo(40))
		})
	})
}
