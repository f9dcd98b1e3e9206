package local

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	. "github.com/smartystreets/goconvey/convey"

	"zotregistry.io/zot/pkg/storage"
)

// writeJournal appends the records 1 to 3, and returns the journal and the offsets
// behind its lines.
func writeJournal(t *testing.T, root *Root) (path string, data []byte, ends []int) {
	t.Helper()

	l := openLog(t, root)
	mustAppend(t, l, 1, 2, 3)
	path = l.journalPath(l.tail.file)

	data, err := os.ReadFile(path)
	must(t, err)

	for i, c := range data {
		if c == '\n' {
			ends = append(ends, i+1)
		}
	}

	return path, data, ends
}

// A journal that was cut at any byte has all batches that are whole, and goes on.
func TestTornJournal(t *testing.T) {
	root := openTemp(t)
	root.commit = false // no need to wait for the disk a thousand times
	path, data, ends := writeJournal(t, root)

	for size := range data {
		must(t, os.WriteFile(path, data[:size], 0o600))

		whole := uint64(0)
		for _, end := range ends[1:] {
			if end <= size {
				whole++
			}
		}

		want := []uint64{1, 2, 3}[:whole]
		wantNumbers(t, root, want...)

		if size%7 == 0 || slices.Contains(ends, size) {
			mustAppend(t, openLog(t, root), whole+1)
			wantNumbers(t, root, append(slices.Clone(want), whole+1)...)
			must(t, os.RemoveAll(root.path+"/a/.zot"))
			must(t, os.Mkdir(root.path+"/a/.zot", 0o700))
		}
	}
}

// A last line that is not what was written there is cut, too: a power cut may keep
// the file's length and lose its bytes.
func TestTornTail(t *testing.T) {
	root := openTemp(t)
	root.commit = false // no need to wait for the disk a thousand times
	path, data, ends := writeJournal(t, root)

	for at := ends[2]; at < len(data); at++ {
		torn := bytes.Clone(data)
		torn[at] ^= 1
		must(t, os.WriteFile(path, torn, 0o600))
		wantNumbers(t, root, 1, 2)
	}

	must(t, os.WriteFile(path, append(bytes.Clone(data[:ends[2]]), make([]byte, 4096)...), 0o600))
	wantNumbers(t, root, 1, 2)
	mustAppend(t, openLog(t, root), 3)
	wantNumbers(t, root, 1, 2, 3)
}

// A line that is not what was written there, with whole ones behind it, was not
// cut by a crash.
func TestDamagedJournal(t *testing.T) {
	root := openTemp(t)
	path, data, ends := writeJournal(t, root)
	l := openLog(t, root)

	wantDamaged := func(what string, damaged []byte) {
		t.Helper()
		must(t, os.WriteFile(path, damaged, 0o600))

		err := reload(t, l)
		version := strings.HasPrefix(what, "flip") && errors.Is(err, storage.ErrFormat)

		if !version && (!errors.Is(err, storage.ErrDamaged) || !strings.Contains(err.Error(), "journal-")) {
			t.Errorf("%s: error is %v", what, err)
		}
	}

	for at := range ends[1] {
		flipped := bytes.Clone(data)
		flipped[at] ^= 1
		wantDamaged("flip", flipped)
	}

	wantDamaged("a line is gone", slices.Concat(data[:ends[0]], data[ends[1]:]))
	wantDamaged("a line comes twice", slices.Concat(data[:ends[1]], data[ends[0]:]))
	wantDamaged("lines have changed places",
		slices.Concat(data[:ends[0]], data[ends[1]:ends[2]], data[ends[0]:ends[1]], data[ends[2]:]))
	wantDamaged("a line is from elsewhere", slices.Concat(data[:ends[0]], zeros(10), data[ends[0]:]))
}

func zeros(n int) []byte { return append(make([]byte, n), '\n') }

func TestJournalOfNewerZot(t *testing.T) {
	Convey("Given a journal", t, func() {
		root := openTemp(t)
		path, data, _ := writeJournal(t, root)
		l := openLog(t, root)

		Convey("another version is not known", func() {
			newer := bytes.Replace(data, []byte("zot-journal 1 "), []byte("zot-journal 2 "), 1)
			So(os.WriteFile(path, newer, 0o600), ShouldBeNil)
			So(reload(t, l), ShouldWrap, storage.ErrFormat)
		})

		Convey("an operation of a newer zot is not cut", func() {
			line, _ := newFrame(l.tail.sum, []byte(`[{"seq":4,"ops":[{"op":"from the future"}]}]`))
			So(os.WriteFile(path, append(data, line...), 0o600), ShouldBeNil)
			So(reload(t, l), ShouldWrap, storage.ErrFormat)
		})

		Convey("files of other names are left alone", func() {
			So(os.WriteFile(l.dir+"/journal-1.log", []byte("x"), 0o600), ShouldBeNil)
			So(os.WriteFile(l.dir+"/journal-00000000000000000001.log~", []byte("x"), 0o600), ShouldBeNil)
			So(os.WriteFile(l.dir+"/checkpoint-x.json", []byte("x"), 0o600), ShouldBeNil)
			wantNumbers(t, root, 1, 2, 3)
		})
	})
}

// What was read after a flush had failed is written again: the kernel believes that
// it is on disk.
func TestReadAfterFailedFlush(t *testing.T) {
	root := openTemp(t)
	path, data, _ := writeJournal(t, root)
	before, err := identify(path)
	must(t, err)

	root.flush.failed = true
	wantNumbers(t, root, 1, 2, 3)

	after, err := identify(path)
	must(t, err)

	again, err := os.ReadFile(path)
	must(t, err)

	if !bytes.Equal(again, data) || after == before {
		t.Error("the journal was not written again as it was")
	}
}

func FuzzJournal(f *testing.F) {
	head, sum, err := newHeader(start())
	if err != nil {
		f.Fatal(err)
	}

	payload, err := storage.EncodeRecords([]storage.Record{record(1)})
	if err != nil {
		f.Fatal(err)
	}

	one, sum := newFrame(sum, payload)
	two, _ := newFrame(sum, payload)
	f.Add(slices.Concat(head, one, two))
	f.Add(slices.Concat(head, two))
	f.Add(slices.Concat(head, one, one[:40]))
	f.Add([]byte("zot-journal 9 x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		j, err := parseJournal("journal", data)
		if err != nil {
			if !errors.Is(err, storage.ErrFormat) {
				t.Fatalf("error is %v", err)
			}

			return
		}

		checkJournal(t, j, data)
	})
}

// checkJournal checks that what was read is what is there, and that it can be
// written again.
func checkJournal(t *testing.T, j *journal, data []byte) {
	t.Helper()

	if j.end < 0 || j.end > int64(len(data)) || j.bad == sound && j.end != int64(len(data)) {
		t.Fatalf("end is %d of %d, fault %d", j.end, len(data), j.bad)
	}

	before := j.sum

	for _, b := range j.batches {
		line, sum := newFrame(before, b.payload)
		if sum != b.sum || !bytes.Equal(line, data[b.end-int64(len(line)):b.end]) {
			t.Fatalf("batch before %d is not what is there", b.end)
		}

		before = sum

		if _, err := b.decode(); err != nil && !errors.Is(err, storage.ErrDamaged) && !errors.Is(err, storage.ErrFormat) {
			t.Fatalf("decode: %v", err)
		}
	}
}
