package api

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
)

func TestParseETags(t *testing.T) {
	a, b := digest.FromString("a"), digest.FromString("b")

	cases := []struct {
		lines []string
		want  etags
	}{
		{nil, etags{}},
		{[]string{""}, etags{}},
		{[]string{" * "}, etags{any: true}},
		{[]string{etagOf(a)}, etags{list: []etag{{digest: a}}}},
		{[]string{a.String()}, etags{list: []etag{{digest: a}}}},
		{[]string{"W/" + etagOf(a)}, etags{list: []etag{{digest: a, weak: true}}}},
		{[]string{etagOf(a) + " ,, " + etagOf(b)}, etags{list: []etag{{digest: a}, {digest: b}}}},
		{[]string{etagOf(a), b.String()}, etags{list: []etag{{digest: a}, {digest: b}}}},
		{[]string{`"", "a,b"`}, etags{list: []etag{{digest: noDigest}, {digest: noDigest}}}},
	}

	for _, c := range cases {
		got, err := parseETags(c.lines)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%q: got %v, %v; want %v", c.lines, got, err, c.want)
		}
	}

	for _, line := range []string{`"a`, "a", `"a" "b"`, `*, "a"`, "W/a", `"a"b`, "sha256:short"} {
		if _, err := parseETags([]string{line}); !errors.Is(err, errHeader) {
			t.Errorf("%q: got %v", line, err)
		}
	}
}

func TestWeakTagsMatchNothing(t *testing.T) {
	cond, err := parsePrecondition(http.Header{
		"If-Match": {"W/" + etagOf(someDigest)}, "If-None-Match": {"W/" + etagOf(someDigest)},
	})
	equal(t, err, nil, "error")
	equal(t, fmt.Sprint(cond.Match), "[-]", "If-Match compares strongly")
	equal(t, fmt.Sprint(cond.NoneMatch), fmt.Sprint([]digest.Digest{someDigest}), "If-None-Match compares weakly")
}

func TestHolds(t *testing.T) {
	other := digest.FromString("other")

	cases := []struct {
		cond         storage.Precondition
		there, where bool // what it says if the manifest is there, and if not
	}{
		{storage.Precondition{}, true, true},
		{storage.Precondition{MatchAny: true}, true, false},
		{storage.Precondition{NoneAny: true}, false, true},
		{storage.Precondition{Match: []digest.Digest{someDigest}}, true, false},
		{storage.Precondition{Match: []digest.Digest{other}}, false, false},
		{storage.Precondition{NoneMatch: []digest.Digest{someDigest}}, false, true},
		{storage.Precondition{NoneMatch: []digest.Digest{other}}, true, true},
	}

	for _, c := range cases {
		equal(t, holds(c.cond, someDigest, true), c.there, fmt.Sprintf("%+v, there", c.cond))
		equal(t, holds(c.cond, someDigest, false), c.where, fmt.Sprintf("%+v, not there", c.cond))
	}
}

func FuzzParseETags(f *testing.F) {
	f.Add("*")
	f.Add(etagOf(someDigest) + `, W/"x"`)
	f.Add(someDigest.String())

	f.Fuzz(func(t *testing.T, line string) {
		got, err := parseETags([]string{line})
		if err != nil {
			if !errors.Is(err, errHeader) {
				t.Errorf("%q: %v", line, err)
			}

			return
		}

		for _, tag := range got.list {
			if tag.digest != noDigest && tag.digest.Validate() != nil {
				t.Errorf("%q has the digest %q", line, tag.digest)
			}
		}
	})
}
