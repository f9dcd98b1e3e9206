package local

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	. "github.com/smartystreets/goconvey/convey"
)

const testUpload = "a/.uploads/1"

func TestNotes(t *testing.T) {
	Convey("Given an upload with a note", t, func() {
		ctx := t.Context()
		root := openTemp(t)

		up, err := root.CreateUpload(ctx, testUpload)
		So(err, ShouldBeNil)
		So(up.Append(ctx, []byte("0123456789")), ShouldBeNil)
		So(up.Save(ctx, []byte("hash\nstate")), ShouldBeNil)
		So(up.Close(), ShouldBeNil)

		path := filepath.Join(root.path, testUpload)
		noteOf := func() []byte {
			up, note, err := root.ResumeUpload(ctx, testUpload)
			So(err, ShouldBeNil)
			So(up.Close(), ShouldBeNil)

			return note
		}

		Convey("it is trusted in the same boot, and if the upload is at least that long", func() {
			So(string(noteOf()), ShouldEqual, "hash\nstate")
		})

		Convey("it is not trusted in another boot", func() {
			root.boot = "another"
			So(noteOf(), ShouldBeNil)
		})

		Convey("it is not trusted if bytes are gone", func() {
			So(os.Truncate(path, 9), ShouldBeNil)
			So(noteOf(), ShouldBeNil)
		})

		Convey("it is not trusted if any byte of it is another, or it is cut", func() {
			body, err := os.ReadFile(noteFile(path))
			So(err, ShouldBeNil)

			for i := range body {
				flipped := bytes.Clone(body)
				flipped[i] ^= 0x10

				if note, ok := parseNote(flipped, root.boot, 10); ok {
					t.Errorf("trusted %q though byte %d was flipped", note, i)
				}

				if note, ok := parseNote(body[:i], root.boot, 10); ok {
					t.Errorf("trusted %q though it was cut to %d bytes", note, i)
				}
			}
		})

		Convey("it goes with the upload", func() {
			up, _, err := root.ResumeUpload(ctx, testUpload)
			So(err, ShouldBeNil)
			So(errorOf(up.Commit(ctx, "a/b")), ShouldBeNil)
			So(exists(noteFile(path)), ShouldBeFalse)
		})
	})
}

func TestUploadWriteback(t *testing.T) {
	root := openTemp(t)

	up, err := root.CreateUpload(t.Context(), testUpload)
	must(t, err)

	chunk := make([]byte, 3<<20)
	for range 10 {
		must(t, up.Append(t.Context(), chunk))
	}

	if begun := up.(*upload).begun; begun != 24<<20 {
		t.Errorf("writeback begun up to %d, want 24 MiB of 30", begun)
	}

	must(t, up.Abort(t.Context()))
}

// An upload whose write fails keeps count of what is there.
func TestUploadAppendFails(t *testing.T) {
	root := openTemp(t)

	created, err := root.CreateUpload(t.Context(), testUpload)
	must(t, err)

	up := created.(*upload)
	must(t, up.Append(t.Context(), []byte("kept")))
	must(t, up.file.Close())

	if up.file, err = os.Open(up.path); err != nil {
		t.Fatal(err)
	}

	if err := up.Append(t.Context(), []byte("lost")); err == nil || up.Size() != 4 {
		t.Errorf("Append to a file that is read only: size %d, error %v", up.Size(), err)
	}

	must(t, up.Close())
}

func FuzzNote(f *testing.F) {
	f.Add([]byte("zot-note 1 boot 10 00\nnote"))
	f.Add(append(noteHead("boot", 10, []byte("note")), "note"...))
	f.Fuzz(func(t *testing.T, body []byte) {
		note, ok := parseNote(body, "boot", 10)
		if ok && !bytes.HasSuffix(body, note) {
			t.Errorf("note %q is not in %q", note, body)
		}
	})
}
