package cache

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	. "github.com/smartystreets/goconvey/convey"
	"go.etcd.io/bbolt"
)

func TestDamageBetweenRuns(t *testing.T) {
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			b := newBoltTest(t)
			b.mustOpen()
			b.fill(filled)
			b.mustClose()

			d.do(b)
			b.mustOpen()

			if d.used {
				b.wantKnown(filled, 1)
			} else {
				b.wantKnown(filled, 0)
			}

			if d.used || d.fresh {
				b.wantAside()
				b.wantLogged(zerolog.WarnLevel, 0)
			} else {
				b.wantAside("cache.db.damaged-1")
				b.wantLogged(zerolog.WarnLevel, 1)
			}

			b.fill(filled)
			b.mustClose()
			b.mustOpen()
			b.wantKnown(filled, filled)
			b.mustClose()
		})
	}
}

// What is garbled inside of a file that looks sound at its start is found once it is
// read, or never, if it is never read.
func TestGarbageInside(t *testing.T) {
	b := newBoltTest(t)
	b.mustOpen()
	b.fill(filled)
	b.mustClose()

	content := b.read()
	from := bytes.Index(content, testDigestBytes(100)) &^ 4095
	overwrite(b, from, garbage(4096))

	b.mustOpen()
	b.wantLogged(zerolog.WarnLevel, 0)
	b.untilLost()
	b.mustFlush()
	b.wantAside("cache.db.damaged-1")
	b.fill(filled)
	b.wantKnown(filled, filled)
	b.mustClose()
}

func testDigestBytes(i int) []byte { return encodeDigest(testDigest(i), 0) }

// boltWith writes a bbolt file with a bucket in a bucket, as an upstream zot does.
func (b *boltTest) boltWith(name string, options *bbolt.Options) {
	b.Helper()

	db, err := bbolt.Open(b.file(), 0o600, options)
	b.must(err)
	b.must(db.Update(func(tx *bbolt.Tx) error {
		outer, err := tx.CreateBucket([]byte(name))
		if err != nil {
			return err
		}

		inner, err := outer.CreateBucket([]byte(testDigest(0)))
		if err != nil {
			return err
		}

		return inner.Put([]byte("original"), []byte("a/blobs/sha256/00"))
	}))
	b.must(db.Close())
}

func TestFilesOfOthers(t *testing.T) {
	Convey("at the start a cache.db", t, func() {
		b := newBoltTest(t)

		Convey("of an upstream zot is moved aside, which is no reason to warn", func() {
			b.boltWith("blobs", nil)
			b.mustOpen()
			b.wantAside("cache.db.upstream-1")
			b.wantLogged(zerolog.WarnLevel, 0)
			b.wantLogged(zerolog.InfoLevel, 1)
		})

		Convey("of another program is moved aside", func() {
			b.boltWith("accounts", nil)
			b.mustOpen()
			b.wantAside("cache.db.other-1")
			b.wantLogged(zerolog.WarnLevel, 1)
		})

		Convey("without a list of free pages is not shown to bbolt at all", func() {
			b.boltWith("key", &bbolt.Options{NoFreelistSync: true})
			b.mustOpen()
			b.wantAside("cache.db.other-1")
		})

		Convey("of another store is moved aside", func() {
			other, err := OpenBoltDB(BoltOptions{Directory: b.dir, Namespace: "another store", Log: zerolog.Nop()})
			So(err, ShouldBeNil)
			So(other.PutBlob(t.Context(), testDigest(0), "first"), ShouldBeNil)
			So(other.Close(), ShouldBeNil)

			b.mustOpen()
			b.wantKnown(1, 0)
			b.wantAside("cache.db.other-1")
		})

		Convey("of a newer zot is moved aside", func() {
			b.mustOpen()
			b.mustClose()
			b.setMark(markFormat, "2")
			b.mustOpen()
			b.wantAside("cache.db.other-1")
		})

		Convey("that bbolt had made and we had not marked yet is used", func() {
			db, err := bbolt.Open(b.file(), 0o600, nil)
			So(err, ShouldBeNil)
			So(db.Close(), ShouldBeNil)

			b.mustOpen()
			b.wantAside()
		})

		Convey("is moved to the next free name, and to the last if all are taken", func() {
			for range maxAside + 2 {
				So(os.WriteFile(b.file(), []byte("no cache"), 0o600), ShouldBeNil)
				b.mustOpen()
				b.mustClose()
			}

			entries, err := os.ReadDir(b.dir)
			So(err, ShouldBeNil)
			So(len(entries), ShouldEqual, maxAside+1)
			b.mustOpen()
		})

		Reset(b.mustClose)
	})
}

func (b *boltTest) setMark(key []byte, value string) {
	b.Helper()

	db, err := bbolt.Open(b.file(), 0o600, nil)
	b.must(err)
	b.must(db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(markBucket).Put(key, []byte(value)) }))
	b.must(db.Close())
}

func TestLocked(t *testing.T) {
	Convey("a file that is in use", t, func() {
		b := newBoltTest(t)
		b.mustOpen()
		b.fill(1)

		Convey("is refused by its name, and not touched", func() {
			_, err := OpenBoltDB(BoltOptions{
				Directory: b.dir, Namespace: "a store", Log: zerolog.New(&b.log), timing: quick,
			})
			So(err.Error(), ShouldContainSubstring, b.file())
			So(err.Error(), ShouldContainSubstring, "locked")
			b.wantAside()
			b.wantKnown(1, 1)
			b.wantLogged(zerolog.WarnLevel, 0)
		})

		Convey("is free once it is closed", func() {
			b.mustClose()
			b.mustOpen()
			b.wantKnown(1, 1)
		})

		Reset(b.mustClose)
	})
}

func TestOpenErrors(t *testing.T) {
	Convey("a directory that is not there is an error", t, func() {
		b := newBoltTest(t)
		b.must(os.Remove(b.dir))
		err := b.open(quick)
		So(errors.Is(err, os.ErrNotExist), ShouldBeTrue)
		So(err.Error(), ShouldContainSubstring, "cache.db")
	})
}

// FuzzInspect: whatever lies there at the start, a cache is opened.
func FuzzInspect(f *testing.F) {
	dir := f.TempDir()

	opened, err := OpenBoltDB(BoltOptions{Directory: dir, Log: zerolog.Nop(), timing: quick})
	if err != nil {
		f.Fatal(err)
	}

	if err := errors.Join(opened.PutBlob(f.Context(), testDigest(0), "a"), opened.Close()); err != nil {
		f.Fatal(err)
	}

	sound, err := os.ReadFile(dir + "/" + boltFileName)
	if err != nil {
		f.Fatal(err)
	}

	for at := 0; at < 5*4096; at += 509 {
		f.Add(uint32(at), []byte{0xff}, uint32(len(sound)))
		f.Add(uint32(at), []byte(strings.Repeat("\x00\x01", 40)), uint32(at))
	}

	f.Fuzz(func(t *testing.T, at uint32, patch []byte, size uint32) {
		content := bytes.Clone(sound)
		copy(content[min(int(at), len(content)):], patch)

		b := newBoltTest(t)
		b.must(os.WriteFile(b.file(), content[:min(int(size), len(content))], 0o600))
		b.must(b.open(quick))

		if _, err := b.GetBlob(t.Context(), testDigest(0)); err != nil && !errors.Is(err, ErrMiss) {
			t.Fatal(err)
		}

		b.must(b.PutBlob(t.Context(), testDigest(1), "b"))
		b.mustFlush()
		b.mustClose()
	})
}
