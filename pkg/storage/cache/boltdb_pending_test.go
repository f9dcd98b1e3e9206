package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"
	. "github.com/smartystreets/goconvey/convey"
)

func TestWriting(t *testing.T) {
	Convey("what is put", t, func() {
		b := newBoltTest(t)

		Convey("is written when the cache is closed, in order", func() {
			b.mustOpen()
			b.must(b.PutBlob(t.Context(), testDigest(0), "z"))
			b.must(b.PutBlob(t.Context(), testDigest(0), "a"))
			b.mustClose()
			b.mustOpen()

			keys, err := b.GetAllBlobs(t.Context(), testDigest(0), -1)
			So(err, ShouldBeNil)
			So(keys, ShouldResemble, []string{"z", "a"})

			Convey("and what is put later comes after it", func() {
				b.must(b.PutBlob(t.Context(), testDigest(0), "0"))
				b.mustClose()
				b.mustOpen()

				keys, err := b.GetAllBlobs(t.Context(), testDigest(0), -1)
				So(err, ShouldBeNil)
				So(keys, ShouldResemble, []string{"z", "a", "0"})
			})
		})

		Convey("is written behind, without anyone asking", func() {
			soon := quick
			soon.flush = time.Millisecond
			b.must(b.open(soon))
			b.must(b.PutBlob(t.Context(), testDigest(0), "first"))

			for b.waits() { // until the test times out
				_, err := b.GetBlob(t.Context(), testDigest(0))
				So(err, ShouldBeNil)
			}

			b.wantKnown(1, 1)
		})

		Convey("waits for room when memory is full, and is written then", func() {
			small := quick
			small.memory = 10 * opBytes
			b.must(b.open(small))

			for i := range 1000 {
				b.must(b.PutBlob(t.Context(), testDigest(i), "first"))
				So(b.memory(), ShouldBeLessThanOrEqualTo, small.memory)
			}

			b.wantKnown(1000, 1000)
		})

		Convey("again costs no write", func() {
			b.mustOpen()
			b.fill(10)

			before, err := os.Stat(b.file())
			So(err, ShouldBeNil)
			b.fill(10)

			after, err := os.Stat(b.file())
			So(err, ShouldBeNil)
			So(after.ModTime(), ShouldEqual, before.ModTime())
		})

		Convey("that cannot be a key is refused, and found nowhere", func() {
			b.mustOpen()

			long := strings.Repeat("k", maxKey+1)
			So(b.PutBlob(t.Context(), testDigest(0), ""), ShouldNotBeNil)
			So(b.PutBlob(t.Context(), "", "a"), ShouldNotBeNil)
			So(b.PutBlob(t.Context(), testDigest(0), long), ShouldNotBeNil)
			So(b.DeleteBlob(t.Context(), testDigest(0), long), ShouldBeNil)

			has, err := b.HasBlob(t.Context(), testDigest(0), long)
			So(has, ShouldBeFalse)
			So(err, ShouldBeNil)

			So(b.PutBlob(t.Context(), testDigest(0), long[1:]), ShouldBeNil)
			b.mustFlush()

			key, err := b.GetBlob(t.Context(), testDigest(0))
			So(err, ShouldBeNil)
			So(key, ShouldEqual, long[1:])
		})

		Reset(b.mustClose)
	})
}

// waits says whether something is not written yet.
func (b *boltTest) waits() bool { return b.memory() > 0 }

func (b *boltTest) memory() int {
	b.mu.Lock()
	defer b.mu.Unlock()

	return b.ops[0].bytes + b.ops[1].bytes
}

// A cache without a file works from memory, and says when that is full.
func TestNoFile(t *testing.T) {
	Convey("when no fresh file can be made", t, func() {
		b := newBoltTest(t)
		small := quick
		small.room, small.memory = time.Millisecond, 10*opBytes
		b.must(b.open(small))
		b.fill(1)
		So(os.RemoveAll(b.dir), ShouldBeNil)
		b.wantKnown(1, 0)

		Convey("it works in memory, and returns an error only when that is full", func() {
			ctx, cancel := context.WithCancel(t.Context())
			n, size := 0, opBytes+len(testDigest(0))+len("first")

			for ; b.memory()+size <= small.memory; n++ {
				So(b.PutBlob(ctx, testDigest(n), "first"), ShouldBeNil)
			}

			b.wantKnown(n, n)
			cancel() // or it would wait
			So(errors.Is(b.PutBlob(ctx, testDigest(n), "first"), context.Canceled), ShouldBeTrue)
			So(errors.Is(b.PutBlob(t.Context(), testDigest(n), "first"), errFull), ShouldBeTrue)
			So(b.Flush(t.Context()), ShouldNotBeNil)
			So(b.log.count(zerolog.WarnLevel), ShouldEqual, 2) // lost; cannot write

			Convey("and recovers with what it has when there can be one", func() {
				So(os.Mkdir(b.dir, 0o700), ShouldBeNil)
				b.mustFlush()
				b.wantKnown(n, n)
				So(b.waits(), ShouldBeFalse)
				So(b.log.count(zerolog.InfoLevel), ShouldEqual, 2) // made; written again
			})
		})

		Reset(b.mustClose)
	})
}

func TestFreshFilesAreNotMadeAllTheTime(t *testing.T) {
	Convey("a second fresh file waits a while, so that what damages it again and again costs little", t, func() {
		b := newBoltTest(t)
		slow := quick
		slow.fresh = time.Hour
		b.must(b.open(slow))

		b.fill(1)
		truncate(0)(b)
		b.wantKnown(1, 0)
		b.mustFlush()
		b.fill(1)
		truncate(0)(b)
		b.wantKnown(1, 0)
		So(errors.Is(b.Flush(t.Context()), errTooSoon), ShouldBeTrue)

		b.must(b.PutBlob(t.Context(), testDigest(0), "first"))
		b.wantKnown(1, 1)
		b.mustClose()
	})
}

func TestOps(t *testing.T) {
	put, drop := op{seq: 7}, op{drop: true}

	for _, c := range []struct {
		name      string
		ops, want []op
	}{
		{"nothing", nil, []op{{}}},
		{"put", []op{put}, []op{put}},
		{"put twice", []op{put, {seq: 8}}, []op{put}},
		{"put, delete", []op{put, drop}, []op{drop}},
		{"delete, put", []op{drop, put}, []op{{drop: true, seq: 7}}},
		{"delete, put, put", []op{drop, put, {seq: 8}}, []op{{drop: true, seq: 7}}},
		{"delete, put, delete", []op{drop, put, drop}, []op{drop}},
	} {
		var sum op
		for _, next := range c.ops {
			sum = sum.then(next)
		}

		if sum != c.want[0] {
			t.Errorf("%s: %+v, want %+v", c.name, sum, c.want[0])
		}
	}
}

// FuzzPair: what is stored of a pair gives it back, and no digest's entries begin as
// another's.
func FuzzPair(f *testing.F) {
	f.Add("sha256:00", "a/blobs/sha256/00", "sha256:0000")
	f.Add(string(testDigest(0)), "a/blobs/sha256/"+testDigest(0).Encoded(), string(testDigest(1)))
	f.Add(fmt.Sprint(digest.SHA512.FromString("")), "/", string(digest.SHA384.FromString("")))

	f.Fuzz(func(t *testing.T, dgst, key, other string) {
		if checkPair(digest.Digest(dgst), key) != nil || checkPair(digest.Digest(other), key) != nil {
			return
		}

		stored := encodeKey(digest.Digest(dgst), key)
		if back, err := decodeKey(digest.Digest(dgst), stored); err != nil || back != key {
			t.Errorf("%q is stored as %q and comes back as %q, %v", key, stored, back, err)
		}

		one, two := encodeDigest(digest.Digest(dgst), 0), encodeDigest(digest.Digest(other), 0)
		if dgst != other && strings.HasPrefix(string(one), string(two)) {
			t.Errorf("%q is stored as %q, %q as %q", dgst, one, other, two)
		}
	})
}
