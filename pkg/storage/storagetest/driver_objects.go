package storagetest

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"

	"zotregistry.io/zot/pkg/storage"
)

func (d driverUnderTest) testID() {
	if d.ID() == "" {
		d.T.Error("ID is empty")
	}
}

func (d driverUnderTest) testMissing() {
	d.wantMissing("a/b")
	d.wantList("", "")
	d.wantList("a/", "")
}

func (d driverUnderTest) testPut() {
	for _, key := range []string{"_top/file", "a/blobs/sha256/00", "a/b/blobs/sha256/00", "a/b/c/d/e/f/g"} {
		d.mustPut(key, "body of "+key)
		d.wantBody(key, "body of "+key)
	}

	d.mustPut("a/empty", "")
	d.wantBody("a/empty", "")
}

func (d driverUnderTest) testReplace() {
	d.mustPut("a/b", "a long body, the first")
	d.mustPut("a/b", "short")
	d.wantBody("a/b", "short")
}

func (d driverUnderTest) testPutCopies() {
	body := []byte("before")
	d.mustPlaced(d.Put(d.T.Context(), "a/b", body))
	copy(body, "after!")
	d.wantBody("a/b", "before")
}

func (d driverUnderTest) testReaderKeeps() {
	d.mustPut("a/b", "first")

	object, err := d.Open(d.T.Context(), "a/b", storage.Whole)
	d.must(err)

	d.mustPut("a/b", "second")
	d.must(d.Delete(d.T.Context(), "a/b"))

	body, err := io.ReadAll(object.Body)
	d.must(err)
	d.must(object.Close())

	if string(body) != "first" {
		d.T.Fatalf("read %q from what was opened as %q", body, "first")
	}
}

// testWhole replaces an object again and again by others of one letter each.
func (d driverUnderTest) testWhole() {
	const rounds = 100

	letter := func(i int) string { return strings.Repeat(string(rune('a'+i%26)), 10_000) }
	d.mustPut("a/b", letter(0))

	var writer sync.WaitGroup
	defer writer.Wait()

	writer.Go(func() {
		for i := range rounds {
			if _, err := d.Put(d.T.Context(), "a/b", []byte(letter(i))); err != nil {
				d.T.Error(err)
			}
		}
	})

	for range rounds {
		got := d.read("a/b", storage.Whole)
		if len(got) != 10_000 || strings.Trim(got, got[:1]) != "" {
			d.T.Errorf("read %d bytes, not all of them %q", len(got), got[:1])
		}
	}
}

func (d driverUnderTest) testRanges() {
	d.mustPut("a/b", "0123456789")
	d.mustPut("a/empty", "")

	for _, c := range []struct {
		key  string
		rng  storage.Range
		want string
	}{
		{"a/b", storage.Whole, "0123456789"},
		{"a/b", storage.Range{}, ""},
		{"a/b", storage.Range{Offset: 0, Length: 3}, "012"},
		{"a/b", storage.Range{Offset: 3, Length: 4}, "3456"},
		{"a/b", storage.Range{Offset: 3, Length: -1}, "3456789"},
		{"a/b", storage.Range{Offset: 9, Length: 1}, "9"},
		{"a/b", storage.Range{Offset: 9, Length: 100}, "9"},
		{"a/b", storage.Range{Offset: 0, Length: 100}, "0123456789"},
		{"a/empty", storage.Whole, ""},
	} {
		if got := d.read(c.key, c.rng); got != c.want {
			d.T.Errorf("%s, %+v: read %q, want %q", c.key, c.rng, got, c.want)
		}
	}

	for _, rng := range []storage.Range{{Offset: 10, Length: -1}, {Offset: 11, Length: 1}, {Offset: -1, Length: 1}} {
		_, err := d.Open(d.T.Context(), "a/b", rng)
		d.wantErr(err, storage.ErrRange)
	}

	object, err := d.Open(d.T.Context(), "a/b", storage.Range{Offset: 3, Length: 2})
	d.must(err)
	d.must(object.Close())

	if object.Size != 10 {
		d.T.Errorf("Size is %d for a part, want that of the whole, 10", object.Size)
	}
}

func (d driverUnderTest) testBadKeys() {
	for _, key := range []string{"", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "../a", "a/..", "a/./b"} {
		if _, err := d.Put(d.T.Context(), key, []byte("body")); err == nil {
			d.T.Errorf("Put(%q) succeeded", key)
		}

		if _, err := d.Open(d.T.Context(), key, storage.Whole); err == nil {
			d.T.Errorf("Open(%q) succeeded", key)
		}

		if err := d.Delete(d.T.Context(), key); err == nil {
			d.T.Errorf("Delete(%q) succeeded", key)
		}
	}

	d.wantList("", "")
}

func (d driverUnderTest) testDirectory() {
	d.mustPut("a/b/c", "body")
	d.wantMissing("a/b")
	d.wantMissing("a/b/c/d")
	d.must(d.Delete(d.T.Context(), "a/b"))
	d.wantBody("a/b/c", "body")
}

func (d driverUnderTest) testDelete() {
	d.mustPut("a/b", "body")
	d.must(d.Delete(d.T.Context(), "a/b"))
	d.wantMissing("a/b")
	d.must(d.Delete(d.T.Context(), "a/b"))
	d.must(d.Delete(d.T.Context(), "never/was"))

	d.mustPut("a/b", "again")
	d.wantBody("a/b", "again")
}

// listKeys are in byte order, which is not that of directories by name: '-' and '.'
// come before '/', '0' behind it.
var listKeys = []string{
	"_top/x", "a-b/c", "a.b", "a/-", "a/b-/x", "a/b/1", "a/b/10", "a/b/2", "a/c", "a0/x", "b",
}

func (d driverUnderTest) putListKeys() {
	d.T.Helper()

	for i := range listKeys {
		d.mustPut(listKeys[(i*7+3)%len(listKeys)], "body")
	}
}

func (d driverUnderTest) testList() {
	d.putListKeys()
	d.wantList("", "", listKeys...)

	for info, err := range d.List(d.T.Context(), "", "") {
		d.must(err)

		if info.Size != 4 || info.Modified.IsZero() {
			d.T.Errorf("List yields %+v, want size 4 and a time", info)
		}
	}
}

func (d driverUnderTest) testListAfter() {
	d.putListKeys()

	for i, key := range listKeys {
		d.wantList("", key, listKeys[i+1:]...)
		d.wantList("", key+"\x00", listKeys[i+1:]...)
	}

	d.wantList("", "a/", listKeys[3:]...)
	d.wantList("", "a/b/", listKeys[5:]...)
	d.wantList("", "a/b0", listKeys[8:]...)
	d.wantList("", "zzz")
}

func (d driverUnderTest) testListPrefix() {
	d.putListKeys()
	d.wantList("a/", "", listKeys[3:9]...)
	d.wantList("a/", "a/b/1", listKeys[6:9]...)
	d.wantList("a/", "A", listKeys[3:9]...)
	d.wantList("a/", "b")
	d.wantList("a/b/", "", listKeys[5:8]...)
	d.wantList("none/", "")
}

func (d driverUnderTest) testListBreak() {
	d.putListKeys()

	n := 0
	for _, err := range d.List(d.T.Context(), "", "") {
		d.must(err)

		if n++; n == 5 {
			break
		}
	}
}

// testListWhilePut lists what is there all along, whatever else changes.
func (d driverUnderTest) testListWhilePut() {
	for i := range 20 {
		d.mustPut(fmt.Sprintf("a/keep%02d", i), "")
	}

	n := 0

	for info, err := range d.List(d.T.Context(), "a/", "") {
		d.must(err)

		if strings.HasPrefix(info.Key, "a/keep") {
			d.mustPut(fmt.Sprintf("a/more%02d", n), "")
			d.must(d.Delete(d.T.Context(), fmt.Sprintf("a/more%02d", n-1)))

			n++
		}
	}

	if n != 20 {
		d.T.Errorf("listed %d of the 20 objects that were there all along", n)
	}
}

func (d driverUnderTest) testLink() {
	d.mustPut("a/blobs/sha256/00", "body")
	d.mustPlaced(d.Link(d.T.Context(), "a/blobs/sha256/00", "b/blobs/sha256/00"))
	d.wantBody("b/blobs/sha256/00", "body")
	d.wantBody("a/blobs/sha256/00", "body")
}

func (d driverUnderTest) testLinkReplaces() {
	d.mustPut("a/1", "one")
	d.mustPut("a/2", "two")
	d.mustPlaced(d.Link(d.T.Context(), "a/1", "a/2"))
	d.wantBody("a/2", "one")
	d.mustPut("a/1", "three")
	d.wantBody("a/2", "one")
}

func (d driverUnderTest) testLinkSelf() {
	d.mustPut("a/1", "one")
	d.mustPlaced(d.Link(d.T.Context(), "a/1", "a/1"))
	d.mustPlaced(d.Link(d.T.Context(), "a/1", "a/2"))
	d.mustPlaced(d.Link(d.T.Context(), "a/1", "a/2"))
	d.mustPlaced(d.Link(d.T.Context(), "a/2", "a/1"))
	d.wantBody("a/1", "one")
	d.wantBody("a/2", "one")
	d.wantList("", "", "a/1", "a/2")
}

func (d driverUnderTest) testLinkOutlives() {
	d.mustPut("a/1", "one")
	d.mustPlaced(d.Link(d.T.Context(), "a/1", "b/1"))
	d.must(d.Delete(d.T.Context(), "a/1"))
	d.wantBody("b/1", "one")
	d.wantMissing("a/1")
}

func (d driverUnderTest) testLinkMissing() {
	d.mustPut("b/1", "one")

	for _, dst := range []string{"b/1", "c/d/1"} {
		_, err := d.Link(d.T.Context(), "a/1", dst)
		d.wantErr(err, fs.ErrNotExist)
	}

	d.wantBody("b/1", "one")
	d.wantList("", "", "b/1")
}

func (d driverUnderTest) testConcurrent() {
	var workers sync.WaitGroup

	for w := range 8 {
		workers.Go(func() {
			for i := range 10 {
				if err := d.work(d.T.Context(), w, i); err != nil {
					d.T.Error(err)
				}
			}
		})
	}

	workers.Wait()
	d.wantBody("shared/dir/7/9", "7 9")
}

func (d driverUnderTest) work(ctx context.Context, w, i int) error {
	key := fmt.Sprintf("shared/dir/%d/%d", w, i)
	if _, err := d.Put(ctx, key, fmt.Appendf(nil, "%d %d", w, i)); err != nil {
		return err
	}

	if _, err := d.Link(ctx, key, "shared/link"); err != nil {
		return err
	}

	if _, err := d.Stat(ctx, "shared/link"); err != nil {
		return err
	}

	return d.Sync(ctx)
}

func (d driverUnderTest) testSync() {
	d.must(d.Sync(d.T.Context()))
	d.mustPut("a/b", "body")
	d.must(d.Sync(d.T.Context()))
	d.wantBody("a/b", "body")
}
