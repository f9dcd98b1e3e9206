package storagetest

import (
	"io/fs"
	"strings"

	"zotregistry.io/zot/pkg/storage"
)

// newUpload is the key of an upload that is not begun.
func (d driverUnderTest) newUpload() string {
	return storage.UploadKey("a", d.NameUpload("a"))
}

func (d driverUnderTest) testUpload() {
	key := d.newUpload()
	up := d.mustCreate(key)
	d.mustAppend(up, "some ")
	d.mustAppend(up, "")
	d.mustAppend(up, "bytes")
	d.mustPlaced(up.Commit(d.T.Context(), "a/blobs/sha256/00"))
	d.wantBody("a/blobs/sha256/00", "some bytes")
	d.wantMissing(key)
	d.must(up.Close())
}

func (d driverUnderTest) testUploadReplaces() {
	key := d.newUpload()
	d.mustPut("a/blobs/sha256/00", "what was there before")

	up := d.mustCreate(key)
	d.mustAppend(up, "new")
	d.mustPlaced(up.Commit(d.T.Context(), "a/blobs/sha256/00"))
	d.wantBody("a/blobs/sha256/00", "new")
}

func (d driverUnderTest) testUploadEmpty() {
	key := d.newUpload()
	up := d.mustCreate(key)
	d.mustPlaced(up.Commit(d.T.Context(), "other/repo/blobs/sha256/00"))
	d.wantBody("other/repo/blobs/sha256/00", "")
}

func (d driverUnderTest) testUploadHidden() {
	key := d.newUpload()
	up := d.mustCreate(key)
	d.mustAppend(up, "bytes")
	d.wantMissing("a/blobs/sha256/00")
	d.wantList("a/blobs/", "")
	d.must(up.Abort(d.T.Context()))
}

func (d driverUnderTest) testUploadTwice() {
	key := d.newUpload()
	d.mustAppend(d.mustCreate(key), "bytes")

	_, err := d.CreateUpload(d.T.Context(), key)
	d.wantErr(err, fs.ErrExist)
}

func (d driverUnderTest) testUploadAbort() {
	key := d.newUpload()
	up := d.mustCreate(key)
	d.mustAppend(up, "bytes")
	d.must(up.Save(d.T.Context(), []byte("note")))
	d.must(up.Abort(d.T.Context()))
	d.wantList("", "")

	_, _, err := d.ResumeUpload(d.T.Context(), key)
	d.wantErr(err, fs.ErrNotExist)
	d.must(up.Close())
}

func (d driverUnderTest) testUploadResume() {
	key := d.newUpload()
	up := d.mustCreate(key)
	d.mustAppend(up, "some ")
	d.must(up.Save(d.T.Context(), []byte("note\x00\n")))
	d.mustAppend(up, "bytes, ")

	if d.Remote() { // only what was saved outlives the process
		d.must(up.Save(d.T.Context(), []byte("note\x00\n")))
	}

	d.must(up.Close())

	up, note := d.mustResume(key)
	if up.Size() != int64(len("some bytes, ")) || note != "note\x00\n" {
		d.T.Fatalf("resumed at %d with note %q", up.Size(), note)
	}

	d.mustAppend(up, "and more")
	d.mustPlaced(up.Commit(d.T.Context(), "a/blobs/sha256/00"))
	d.wantBody("a/blobs/sha256/00", "some bytes, and more")
	d.wantList("", "", "a/blobs/sha256/00")
}

func (d driverUnderTest) testUploadOver() {
	_, _, err := d.ResumeUpload(d.T.Context(), storage.UploadKey("a", "b2b1ed5c-0b0c-4dc0-8b1e-7e32f4f1b1a5"))
	d.wantErr(err, fs.ErrNotExist)

	key := d.newUpload()
	up := d.mustCreate(key)
	d.mustPlaced(up.Commit(d.T.Context(), "a/b"))

	_, _, err = d.ResumeUpload(d.T.Context(), key)
	d.wantErr(err, fs.ErrNotExist)

	if err := up.Append(d.T.Context(), []byte("more")); err == nil {
		d.T.Error("Append after Commit succeeded")
	}

	d.wantBody("a/b", "")
}

func (d driverUnderTest) testUploadNotes() {
	key := d.newUpload()
	up := d.mustCreate(key)
	d.must(up.Close())

	up, note := d.mustResume(key)
	if note != "" {
		d.T.Fatalf("note is %q, but none was saved", note)
	}

	for _, want := range []string{"first", "second", "3"} {
		d.mustAppend(up, "bytes")
		d.must(up.Save(d.T.Context(), []byte(want)))
		d.must(up.Close())

		if up, note = d.mustResume(key); note != want {
			d.T.Fatalf("note is %q, want %q", note, want)
		}
	}

	d.must(up.Close())
}

func (d driverUnderTest) testUploadReader() {
	key := d.newUpload()
	up := d.mustCreate(key)
	d.mustAppend(up, "0123456789")

	for _, offset := range []int64{0, 4, 10} {
		if got := d.readUpload(up, offset); got != "0123456789"[offset:] {
			d.T.Fatalf("read %q from offset %d", got, offset)
		}
	}

	for _, offset := range []int64{-1, 11} {
		_, err := up.Reader(d.T.Context(), offset)
		d.wantErr(err, storage.ErrRange)
	}

	long := strings.Repeat("x", 100_000)
	d.mustAppend(up, long)

	if got := d.readUpload(up, 10); got != long {
		d.T.Fatalf("read %d bytes, want %d", len(got), len(long))
	}
}

func (d driverUnderTest) testUploadList() {
	key := d.newUpload()
	up := d.mustCreate(key)
	d.mustAppend(up, "bytes")
	d.must(up.Save(d.T.Context(), []byte("note")))
	d.must(up.Close())
	d.wantList("a/", "", key)

	if d.Remote() { // the object is what is needed to go on
		return
	}

	info, err := d.Stat(d.T.Context(), key)
	d.must(err)

	if info.Size != 5 {
		d.T.Errorf("size of an upload is %d, want 5", info.Size)
	}

	d.must(d.Delete(d.T.Context(), key))
	d.wantList("a/", "")

	up = d.mustCreate(key)
	d.must(up.Close())

	up, note := d.mustResume(key)
	d.must(up.Close())

	if note != "" {
		d.T.Errorf("note %q outlived its upload", note)
	}
}
