package api

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"zotregistry.io/zot/pkg/storage"
)

func TestParseRange(t *testing.T) {
	cases := []struct {
		header string
		size   int64
		want   storage.Range
		err    error
	}{
		{header: "bytes=0-0", size: 10, want: storage.Range{Offset: 0, Length: 1}},
		{header: "bytes=2-5", size: 10, want: storage.Range{Offset: 2, Length: 4}},
		{header: "bytes=2-", size: 10, want: storage.Range{Offset: 2, Length: 8}},
		{header: "bytes=-3", size: 10, want: storage.Range{Offset: 7, Length: 3}},
		{header: "bytes=-30", size: 10, want: storage.Range{Offset: 0, Length: 10}},
		{header: "bytes=5-100", size: 10, want: storage.Range{Offset: 5, Length: 5}},
		{header: "Bytes=0-99999999999999999999", size: 10, want: storage.Range{Offset: 0, Length: 10}},

		{header: "bytes=10-", size: 10, err: storage.ErrRange},
		{header: "bytes=10-20", size: 10, err: storage.ErrRange},
		{header: "bytes=99999999999999999999-", size: 10, err: storage.ErrRange},
		{header: "bytes=5-2", size: 10, err: storage.ErrRange},
		{header: "bytes=-0", size: 10, err: storage.ErrRange},
		{header: "bytes=0-", size: 0, err: storage.ErrRange},
		{header: "bytes=-1", size: 0, err: storage.ErrRange},

		{header: "bytes=0-1,3-4", size: 10, want: storage.Whole},
		{header: "lines=0-1", size: 10, want: storage.Whole},
		{header: "bytes", size: 10, want: storage.Whole},
		{header: "bytes=", size: 10, want: storage.Whole},
		{header: "bytes=-", size: 10, want: storage.Whole},
		{header: "bytes=a-b", size: 10, want: storage.Whole},
		{header: "bytes=+1-2", size: 10, want: storage.Whole},
		{header: "bytes=--1", size: 10, want: storage.Whole},
	}

	for _, c := range cases {
		got, err := parseRange(c.header, c.size)
		if !errors.Is(err, c.err) || err == nil && got != c.want {
			t.Errorf("%q of %d bytes: got %+v, %v; want %+v, %v", c.header, c.size, got, err, c.want, c.err)
		}
	}
}

func FuzzParseRange(f *testing.F) {
	f.Add("bytes=0-1", int64(10))
	f.Add("bytes=-5", int64(3))
	f.Add("bytes=7-", int64(0))

	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 {
			return
		}

		got, err := parseRange(header, size)
		if err != nil {
			if !errors.Is(err, storage.ErrRange) {
				t.Errorf("%q: %v", header, err)
			}

			return
		}

		if got != storage.Whole && (got.Offset < 0 || got.Length < 1 || got.Offset+got.Length > size) {
			t.Errorf("%q of %d bytes is %+v", header, size, got)
		}
	})
}

func TestParseContentRange(t *testing.T) {
	offset, length, err := parseContentRange("5-9")
	equal(t, fmt.Sprint(offset, length, err), "5 5 <nil>", "5-9")

	for _, header := range []string{
		"", "-", "5", "5-", "-5", "9-5", "a-b", "bytes 0-4", "bytes=0-4", "0-4/5", "0-99999999999999999999", "+0-1", " 0-1",
	} {
		if _, _, err := parseContentRange(header); !errors.Is(err, errHeader) {
			t.Errorf("%q: got %v", header, err)
		}
	}
}

func FuzzParseContentRange(f *testing.F) {
	f.Add("0-9")
	f.Add("9223372036854775807-9223372036854775807")

	f.Fuzz(func(t *testing.T, header string) {
		offset, length, err := parseContentRange(header)
		if err == nil && (offset < 0 || length < 1 || offset+length-1 < 0) {
			t.Errorf("%q: offset %d, length %d", header, offset, length)
		}
	})
}

func TestWantsRange(t *testing.T) {
	cases := map[string]bool{
		"":                              true,
		etagOf(someDigest):              true,
		"W/" + etagOf(someDigest):       false,
		`"other"`:                       false,
		"Wed, 21 Oct 2026 07:28:00 GMT": false,
	}

	for condition, want := range cases {
		header := http.Header{"Range": {"bytes=0-1"}}
		if condition != "" {
			header.Set("If-Range", condition)
		}

		equal(t, wantsRange(header, someDigest), want, "If-Range: "+condition)
	}
}
