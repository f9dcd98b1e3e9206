package storagetest

import (
	"io/fs"
	"strings"

	"zotregistry.io/zot/pkg/storage"
)

const uploadKey = "a/.uploads/b2b1ed5c-0b0c-4dc0-8b1e-7e32f4f1b1a5"

func (d driverUnderTest) testUpload() {
	up := d.mustCreate(uploadKey)
	d.mustAppend(up, "some ")
	d.mustAppend(up, "")
	d.mustAppend(up, "bytes")
	d.mustPlaced(up.Commit(d.T.Context(), "a/blobs/sha256/00"))
	d.wantBody("a/blobs/sha256/00", "some bytes")
	d.wantMissing(uploadKey)
	d.must(up.Close())
}

func (d driverUnderTest) testUploadReplaces() {
	d.mustPut("a/blobs/sha256/00", "what was there before")

	up := d.mustCreate(uploadKey)
	d.mustAppend(up, "new")
	d.mustPlaced(up.Commit(d.T.Context(), "a/blobs/sha256/00"))
	d.wantBody("a/blobs/sha256/00", "new")
}

func (d driverUnderTest) testUploadEmpty() {
	up := d.mustCreate(uploadKey)
	d.mustPlaced(up.Commit(d.T.Context(), "other/repo/blobs/sha256/00"))
	d.wantBody("other/repo/blobs/sha256/00", "")
}

func (d driverUnderTest) testUploadHidden() {
	up := d.mustCreate(uploadKey)
	d.mustAppend(up, "bytes")
	d.wantMissing("a/blobs/sha256/00")
	d.wantList("a/blobs/", "")
	d.must(up.Abort(d.T.Context()))
}

func (d driverUnderTest) testUploadTwice() {
	d.mustAppend(d.mustCreate(uploadKey), "bytes")

	_, err := d.CreateUpload(d.T.Context(), uploadKey)
	d.wantErr(err, fs.ErrExist)
}

func (d driverUnderTest) testUploadAbort() {
	up := d.mustCreate(uploadKey)
	d.mustAppend(up, "bytes")
	d.must(up.Save(d.T.Context(), []byte("note")))
	d.must(up.Abort(d.T.Context()))
	d.wantList("", "")

	_, _, err := d.ResumeUpload(d.T.Context(), uploadKey)
	d.wantErr(err, fs.ErrNotExist)
	d.must(up.Close())
}

func (d driverUnderTest) testUploadResume() {
	up := d.mustCreate(uploadKey)
	d.mustAppend(up, "some ")
	d.must(up.Save(d.T.Context(), []byte("note\x00\n")))
	d.mustAppend(up, "bytes, ")
	d.must(up.Close())

	up, note := d.mustResume(uploadKey)
	if up.Size() != int64(len("some bytes, ")) || note != "note\x00\n" {
		d.T.Fatalf("resumed at %d with note %q", up.Size(), note)
	}

	d.mustAppend(up, "and more")
	d.mustPlaced(up.Commit(d.T.Context(), "a/blobs/sha256/00"))
	d.wantBody("a/blobs/sha256/00", "some bytes, and more")
	d.wantList("", "", "a/blobs/sha256/00")
}

func (d driverUnderTest) testUploadOver() {
	_, _, err := d.ResumeUpload(d.T.Context(), uploadKey)
	d.wantErr(err, fs.ErrNotExist)

	up := d.mustCreate(uploadKey)
	d.mustPlaced(up.Commit(d.T.Context(), "a/b"))

	_, _, err = d.ResumeUpload(d.T.Context(), uploadKey)
	d.wantErr(err, fs.ErrNotExist)

	if err := up.Append(d.T.Context(), []byte("more")); err == nil {
		d.T.Error("Append after Commit succeeded")
	}

	d.wantBody("a/b", "")
}

func (d driverUnderTest) testUploadNotes() {
	up := d.mustCreate(uploadKey)
	d.must(up.Close())

	up, note := d.mustResume(uploadKey)
	if note != "" {
		d.T.Fatalf("note is %q, but none was saved", note)
	}

	for _, want := range []string{"first", "second", "3"} {
		d.mustAppend(up, "bytes")
		d.must(up.Save(d.T.Context(), []byte(want)))
		d.must(up.Close())

		if up, note = d.mustResume(uploadKey); note != want {
			d.T.Fatalf("note is %q, want %q", note, want)
		}
	}

	d.must(up.Close())
}

func (d driverUnderTest) testUploadReader() {
	up := d.mustCreate(uploadKey)
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
	up := d.mustCreate(uploadKey)
	d.mustAppend(up, "bytes")
	d.must(up.Save(d.T.Context(), []byte("note")))
	d.must(up.Close())
	d.wantList("a/", "", uploadKey)

	info, err := d.Stat(d.T.Context(), uploadKey)
	d.must(err)

	if info.Size != 5 {
		d.T.Errorf("size of an upload is %d, want 5", info.Size)
	}

	d.must(d.Delete(d.T.Context(), uploadKey))
	d.wantList("a/", "")

	up = d.mustCreate(uploadKey)
	d.must(up.Close())

	up, note := d.mustResume(uploadKey)
	d.must(up.Close())

	if note != "" {
		d.T.Errorf("note %q outlived its upload", note)
	}
}
