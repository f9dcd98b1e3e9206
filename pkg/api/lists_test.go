package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	. "github.com/smartystreets/goconvey/convey"

	"zotregistry.io/zot/pkg/storage"
)

// next is the path of the next page, "" if there is none.
func (a answer) next() string {
	link, ok := strings.CutSuffix(a.Header.Get("Link"), `>; rel="next"`)
	if !ok {
		return ""
	}

	return strings.TrimPrefix(link, "<")
}

func TestTagsList(t *testing.T) {
	Convey("The tags of a repository", t, func() {
		c := dial(t)
		for _, tag := range []string{"b", "a", "C", "d"} {
			c.image("team/app", tag, "x")
		}

		list := func(query string) answer { return c.get("/v2/team/app/tags/list" + query) }

		Convey("come all at once, in order", func() {
			a := list("").expect(t, http.StatusOK)
			So(a.body, ShouldEqual, `{"name":"team/app","tags":["C","a","b","d"]}`)
			So(a.Header.Get("Content-Type"), ShouldEqual, "application/json")
			So(a.Header.Get("Link"), ShouldBeEmpty)
			So(headersOf(c.head("/v2/team/app/tags/list")), ShouldEqual, headersOf(a))
		})

		Convey("come in pages", func() {
			a := list("?n=3").expect(t, http.StatusOK)
			So(a.body, ShouldEqual, `{"name":"team/app","tags":["C","a","b"]}`)
			So(a.Header.Get("Link"), ShouldEqual, `</v2/team/app/tags/list?last=b&n=3>; rel="next"`)

			a = c.get(a.next()).expect(t, http.StatusOK)
			So(a.body, ShouldEqual, `{"name":"team/app","tags":["d"]}`)
			So(a.next(), ShouldBeEmpty)
		})

		Convey("come from behind any tag, there or not", func() {
			So(list("?last=aa").body, ShouldEqual, `{"name":"team/app","tags":["b","d"]}`)
			So(list("?last=z").body, ShouldEqual, `{"name":"team/app","tags":[]}`)
			So(list("?n=4").next(), ShouldBeEmpty)
		})

		Convey("are none if none are asked for", func() {
			a := list("?n=0").expect(t, http.StatusOK)
			So(a.body, ShouldEqual, `{"name":"team/app","tags":[]}`)
			So(a.Header.Get("Link"), ShouldBeEmpty)
		})

		Convey("are asked for in a way that can be understood", func() {
			for _, query := range []string{"?n=-1", "?n=x", "?n=", "?n=1.5", "?n=99999999999999999999", "?last=-x", "?n=%zz", "?a;b"} {
				list(query).refused(t, 400, "UNSUPPORTED")
			}
		})
	})

	Convey("A repository that is not there has no list", t, func() {
		c := dial(t)
		c.get("/v2/no/tags/list").refused(t, http.StatusNotFound, "NAME_UNKNOWN")
		c.get("/v2/no/tags/list?n=0").refused(t, http.StatusNotFound, "NAME_UNKNOWN")
		c.get("/v2/NO/tags/list").refused(t, 400, "NAME_INVALID")
	})
}

func TestCatalog(t *testing.T) {
	Convey("The catalog", t, func() {
		c := dial(t)

		Convey("is empty at first", func() {
			So(c.get("/v2/_catalog").expect(t, http.StatusOK).body, ShouldEqual, `{"repositories":[]}`)
		})

		for _, repo := range []string{"b/x", "a", "c"} {
			c.image(repo, "v1", "x")
		}

		Convey("lists all repositories, or pages of them", func() {
			So(c.get("/v2/_catalog").body, ShouldEqual, `{"repositories":["a","b/x","c"]}`)

			a := c.get("/v2/_catalog?n=2")
			So(a.body, ShouldEqual, `{"repositories":["a","b/x"]}`)
			So(a.Header.Get("Link"), ShouldEqual, `</v2/_catalog?last=b%2Fx&n=2>; rel="next"`)
			So(c.get(a.next()).body, ShouldEqual, `{"repositories":["c"]}`)

			a = c.get("/v2/_catalog?n=0")
			So(a.body, ShouldEqual, `{"repositories":[]}`)
			So(a.next(), ShouldBeEmpty)

			c.get("/v2/_catalog?n=-1").refused(t, 400, "UNSUPPORTED")
			c.get("/v2/_catalog?last=X").refused(t, 400, "UNSUPPORTED")
		})

		Convey("fills its pages with what the user may read", func() {
			h := catalogHandler{catalog: c.registry}
			rules := mustRules(t, map[string][]string{"**": {"read"}, "{a}": {"create"}})
			hr, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
			So(err, ShouldBeNil)

			repos, more, err := h.readable(&request{Request: hr, doors: &doors{rules: rules}}, "", 1)
			So(fmt.Sprint(repos, more, err), ShouldEqual, "[b/x] true <nil>")
			repos, more, err = h.readable(&request{Request: hr, doors: &doors{rules: rules}}, "", -1)
			So(fmt.Sprint(repos, more, err), ShouldEqual, "[b/x c] false <nil>")
		})
	})
}

// index is a list of referrers.
type index struct {
	SchemaVersion int                  `json:"schemaVersion"`
	MediaType     string               `json:"mediaType"`
	Manifests     []storage.Descriptor `json:"manifests"`
}

func (a answer) index(t *testing.T) index {
	t.Helper()
	a.expect(t, http.StatusOK)
	equal(t, a.Header.Get("Content-Type"), mediaTypeIndex, "Content-Type")

	var list index
	if err := json.Unmarshal([]byte(a.body), &list); err != nil {
		t.Fatal(err)
	}

	return list
}

func TestReferrers(t *testing.T) {
	Convey("The referrers of a manifest", t, func() {
		c := dial(t)
		path := "/v2/a/referrers/" + someDigest.String()

		Convey("are none where nothing is known of it", func() {
			const empty = `{"schemaVersion":2,"mediaType":"` + mediaTypeIndex + `","manifests":[]}`
			So(c.get(path).expect(t, http.StatusOK).body, ShouldEqual, empty)
		})

		sbom := c.attach("a", someDigest, "text/sbom", "one")
		signature := c.attach("a", someDigest, "text/signature", "two")

		Convey("are listed with type and annotations", func() {
			a := c.get(path)
			list := a.index(t)
			So(list.Manifests, ShouldHaveLength, 2)
			So(list.SchemaVersion, ShouldEqual, 2)
			So(list.MediaType, ShouldEqual, mediaTypeIndex)
			So(a.Header.Get("OCI-Filters-Applied"), ShouldBeEmpty)
			So([]any{list.Manifests[0].Digest, list.Manifests[1].Digest}, ShouldContain, sbom)
			So(headersOf(c.head(path)), ShouldEqual, headersOf(a))
		})

		Convey("are filtered by type", func() {
			a := c.get(path + "?artifactType=" + url.QueryEscape("text/signature"))
			list := a.index(t)
			So(list.Manifests, ShouldHaveLength, 1)
			So(list.Manifests[0].Digest, ShouldEqual, signature)
			So(list.Manifests[0].ArtifactType, ShouldEqual, "text/signature")
			So(list.Manifests[0].Annotations, ShouldResemble, map[string]string{"note": "two"})
			So(a.Header.Get("OCI-Filters-Applied"), ShouldEqual, "artifactType")
		})

		Convey("are asked for in a way that can be understood", func() {
			c.get("/v2/a/referrers/x").refused(t, 400, "DIGEST_INVALID")
			c.get(path+"?last=x").refused(t, 400, "UNSUPPORTED")
		})
	})

	Convey("Many large referrers come in pages of at most 4 MiB", t, func() {
		c := dial(t)
		want := map[string]bool{}

		for i := range 3 {
			note := strings.Repeat("x", 2<<20) + string(rune('a'+i))
			want[c.attach("a", someDigest, "text/big", note).String()] = true
		}

		pages := 0

		for path := "/v2/a/referrers/" + someDigest.String() + "?artifactType=text/big"; path != ""; pages++ {
			a := c.get(path)
			So(len(a.body), ShouldBeLessThanOrEqualTo, 4<<20)
			So(a.Header.Get("OCI-Filters-Applied"), ShouldEqual, "artifactType")

			for _, descriptor := range a.index(t).Manifests {
				So(want[descriptor.Digest.String()], ShouldBeTrue)
				delete(want, descriptor.Digest.String())
			}

			path = a.next()
		}

		So(want, ShouldBeEmpty)
		So(pages, ShouldBeGreaterThan, 1)
	})
}

func FuzzParsePage(f *testing.F) {
	f.Add("n=1&last=a")
	f.Add("n=")
	f.Add("n=-1&n=2;x")

	f.Fuzz(func(t *testing.T, raw string) {
		query, err := url.ParseQuery(raw)
		if err != nil {
			return
		}

		p, err := parsePage(query)
		if err != nil {
			return
		}

		if p.n < -1 || p.n == -1 && query.Has("n") {
			t.Errorf("%q: n is %d", raw, p.n)
		}

		back, err := url.ParseQuery(p.next(p.last).Encode())
		if err != nil || back.Get("last") != p.last {
			t.Errorf("%q: last %q becomes %q, %v", raw, p.last, back.Get("last"), err)
		}
	})
}
