package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	. "github.com/smartystreets/goconvey/convey"

	"zotregistry.io/zot/pkg/api/config"
)

// dialLimited serves a registry to everyone, who may do the actions named in the repositories
// of each glob.
func dialLimited(t *testing.T, registry Registry, everyone map[string]string) *client {
	t.Helper()

	cfg := &config.AccessControl{Repositories: map[string]config.RepositoryPolicy{}}
	for glob, actions := range everyone {
		cfg.Repositories[glob] = config.RepositoryPolicy{AnonymousPolicy: strings.Fields(actions)}
	}

	return dialWith(t, config.HTTP{AccessControl: cfg}, registry)
}

// put pushes a manifest of nothing but a note, under a reference.
func (c *client) put(path, note string) answer {
	c.t.Helper()

	return c.send(http.MethodPut, "/v2/a/manifests/"+path, noted(note), "Content-Type: "+mediaTypeManifest)
}

func noted(note string) string {
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"a/b","digest":%q,"size":2},"layers":[],`+
		`"annotations":{"note":%q}}`, mediaTypeManifest, digest.FromString("{}"), note)
}

func TestWhatMayBePushed(t *testing.T) {
	all := dial(t)
	all.blob("a", "{}")
	all.put("old", "1").expect(t, 201)

	one, two := digest.FromString(noted("1")).String(), digest.FromString(noted("2")).String()
	limited := func(actions string) *client { return dialLimited(t, all.registry, map[string]string{"a": actions}) }

	pointsTo := func(tag, want string) {
		So(all.head("/v2/a/manifests/"+tag).Header.Get("Docker-Content-Digest"), ShouldEqual, want)
	}

	Convey("Who may create", t, func() {
		c := limited("create")

		Convey("makes tags, moves none, and may push the same again", func() {
			c.put("new", "1").expect(t, 201)
			c.put("new", "1").expect(t, 201)
			c.put("new", "2").refused(t, 403, "DENIED")
			pointsTo("new", one)
		})

		Convey("pushes under several tags all or nothing", func() {
			c.put(two+"?tag=newer&tag=old", "2").refused(t, 403, "DENIED")
			pointsTo("newer", "")
			c.put(two+"?tag=newer&tag=newest", "2").expect(t, 201)
			pointsTo("newest", two)
		})

		Convey("is not told by a condition what a tag points to", func() {
			for _, condition := range []string{"If-Match: \"" + one + `"`, "If-Match: \"" + two + `"`, "If-None-Match: *"} {
				c.send(http.MethodPut, "/v2/a/manifests/old", noted("3"), "Content-Type: "+mediaTypeManifest, condition).
					refused(t, 403, "DENIED")
			}
		})

		Convey("reads and deletes nothing", func() {
			c.get("/v2/a/manifests/old").refused(t, 404, "NAME_UNKNOWN")
			c.get("/v2/a/blobs/"+digest.FromString("{}").String()).refused(t, 404, "BLOB_UNKNOWN")
			c.do(http.MethodDelete, "/v2/a/manifests/old", nil).refused(t, 403, "DENIED")
		})
	})

	Convey("Who may update", t, func() {
		c := limited("update")

		Convey("moves tags, and makes none", func() {
			c.put("old", "2").expect(t, 201)
			pointsTo("old", two)
			c.put("old", "1").expect(t, 201)
			c.put("none", "1").refused(t, 403, "DENIED")
			pointsTo("none", "")
		})

		Convey("pushes nothing else", func() {
			c.put(one, "1").refused(t, 403, "DENIED")
			c.do(http.MethodPost, "/v2/a/blobs/uploads/", nil).refused(t, 403, "DENIED")
		})
	})

	Convey("Who may do both does", t, func() {
		c := limited("create update")
		c.put("both", "1").expect(t, 201)
		c.put("both", "2").expect(t, 201)
		pointsTo("both", two)
	})

	Convey("Who may read and not write is told so", t, func() {
		c := limited("read")
		c.get("/v2/a/manifests/old").expect(t, 200)
		c.put("old", "2").refused(t, 403, "DENIED")
		c.get("/v2/a/blobs/uploads/x").refused(t, 403, "DENIED")
		So(c.put("old", "2").Header.Get("WWW-Authenticate"), ShouldBeEmpty)
	})
}

func TestDetectManifestCollision(t *testing.T) {
	all := dial(t)
	all.blob("a", "{}")

	for _, tag := range []string{"x", "y"} {
		all.put(tag, "1").expect(t, 201)
	}

	c := dialLimited(t, all.registry, map[string]string{"a": "delete detectManifestCollision"})
	byDigest := "/v2/a/manifests/" + digest.FromString(noted("1")).String()

	a := c.do(http.MethodDelete, byDigest, nil).refused(t, 409, "MANIFEST_INVALID")
	equal(t, a.Header.Get("Retry-After"), "", "it is of no use to try again")
	all.get("/v2/a/manifests/x").expect(t, 200)

	c.do(http.MethodDelete, "/v2/a/manifests/x", nil).expect(t, 202)
	c.do(http.MethodDelete, byDigest, nil).expect(t, 202)
	all.get("/v2/a/manifests/y").refused(t, 404, "MANIFEST_UNKNOWN")

	all.put("x", "1").expect(t, 201)
	all.put("y", "1").expect(t, 201)
	all.do(http.MethodDelete, byDigest, nil).expect(t, 202) // without the action
}

func TestMountOfWhatMayNotBeRead(t *testing.T) {
	all := dial(t)
	dgst := all.blob("secret", "hush")
	c := dialLimited(t, all.registry, map[string]string{"mine/**": "read create", "theirs": "read"})

	mount := func(from string) string {
		a := c.do(http.MethodPost, "/v2/mine/a/blobs/uploads/?mount="+dgst.String()+from, nil)
		a.Header.Del("Location")
		a.Header.Del("Docker-Upload-UUID")

		return a.seen("")
	}

	for _, from := range []string{"&from=secret", ""} {
		equal(t, mount(from), mount("&from=missing"), "mount "+from)
	}

	c.head("/v2/mine/a/blobs/"+dgst.String()).expect(t, 404)
	equal(t, c.blob("mine/a", "hush"), dgst, "it is pushed with all its bytes")
	c.do(http.MethodPost, "/v2/mine/b/blobs/uploads/?mount="+dgst.String(), nil).expect(t, 201) // from mine/a

	all.blob("theirs", "known")
	c.do(http.MethodPost, "/v2/mine/b/blobs/uploads/?from=theirs&mount="+digest.FromString("known").String(), nil).expect(t, 201)
	c.do(http.MethodPost, "/v2/theirs/blobs/uploads/?from=mine/a&mount="+dgst.String(), nil).refused(t, 403, "DENIED")
}

func TestDeleteRepository(t *testing.T) {
	Convey("An administrator deletes a repository whole", t, func() {
		c := dial(t)
		c.image("a/b", "v1", "x")
		c.image("a/b/c", "v1", "x")

		c.do(http.MethodDelete, "/v2/a/b/_oci/repository", nil).expect(t, 202)
		c.get("/v2/a/b/manifests/v1").expect(t, 404)
		So(c.get("/v2/a/b/tags/list").body, ShouldEqual, `{"name":"a/b","tags":[]}`)
		c.get("/v2/a/b/c/manifests/v1").expect(t, 200)
		So(c.get("/v2/_catalog").body, ShouldEqual, `{"repositories":["a/b","a/b/c"]}`) // it can be brought back

		Convey("once", func() {
			c.do(http.MethodDelete, "/v2/a/b/_oci/repository", nil).refused(t, 404, "NAME_UNKNOWN")
		})
	})

	Convey("To be allowed to delete in it is not enough", t, func() {
		c := dial(t)
		c.image("a", "v1", "x")

		c = dialLimited(t, c.registry, map[string]string{"**": "read create update delete"})
		c.do(http.MethodDelete, "/v2/a/_oci/repository", nil).refused(t, 403, "DENIED")
		c.do(http.MethodDelete, "/v2/b/_oci/repository", nil).refused(t, 403, "DENIED")
		c.get("/v2/a/manifests/v1").expect(t, 200)
	})
}

func TestCatalogOfWhatMayBeRead(t *testing.T) {
	all := dial(t)
	for _, repo := range []string{"a", "a-b", "a/b", "a/c", "b", "b/c", "b/d", "c", "z/public"} {
		all.image(repo, "v1", "x")
	}

	for _, c := range []struct {
		everyone map[string]string
		want     string
	}{
		{map[string]string{"**": "read"}, "a a-b a/b a/c b b/c b/d c z/public"},
		{map[string]string{"**": "read", "b/**": "create"}, "a a-b a/b a/c c z/public"},
		{map[string]string{"a/**": "read"}, "a a/b a/c"},
		{map[string]string{"a/*": "read"}, "a/b a/c"},
		{map[string]string{"a": "read", "a-b": "read", "b/d": "read", "x": "read"}, "a a-b b/d"},
		{map[string]string{"*/public": "read", "b/c": "read"}, "b/c z/public"},
		{map[string]string{"{a,b}/**": "read", "{b}/{c,d,e}": ""}, "a a/b a/c b"},
		{map[string]string{"**": "create"}, ""},
	} {
		client := dialLimited(t, all.registry, c.everyone)

		for n := range 5 {
			want := strings.Fields(c.want)
			pages, next := 0, "/v2/_catalog"

			if n > 0 {
				next += fmt.Sprintf("?n=%d", n)
				pages = max(1, (len(want)+n-1)/n)
			}

			var got []string

			for ; next != ""; pages-- {
				a := client.get(next).expect(t, 200)
				got = append(got, a.repositories(t)...)
				next = a.next()
			}

			equal(t, strings.Join(got, " "), c.want, fmt.Sprint(c.everyone, " in pages of ", n))
			equal(t, max(pages, 0), 0, "there is no page but those")

			if n > 0 {
				equal(t, pages, 0, "pages")
			}
		}

		for _, last := range []string{"a", "a-b", "a0", "a/b", "b", "b/c", "y", "z/public"} {
			var want []string

			for _, repo := range strings.Fields(c.want) {
				if repo > last {
					want = append(want, repo)
				}
			}

			got := client.get("/v2/_catalog?last="+last).expect(t, 200).repositories(t)
			equal(t, fmt.Sprint(got), fmt.Sprint(want), fmt.Sprint(c.everyone, " after ", last))
		}
	}
}

func (a answer) repositories(t *testing.T) []string {
	t.Helper()

	var list struct{ Repositories []string }
	if err := json.Unmarshal([]byte(a.body), &list); err != nil {
		t.Fatal(err)
	}

	return list.Repositories
}

// TestRulesChange: a request is decided by the rules that were there when it came, whole.
func TestRulesChange(t *testing.T) {
	store := openHoard(t)
	server := mustServer(t, store, false)
	closed := server.doors.Load()
	open := &doors{ways: closed.ways, rules: mustRules(t, map[string][]string{"**": {"read"}})}

	done := make(chan struct{})

	go func() {
		defer close(done)

		for range 2000 {
			server.doors.Store(open)
			server.doors.Store(closed)
		}
	}()

	seen := map[int]int{}

	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}

		for _, path := range []string{"/v2/secret/app/tags/list", "/v2/secret/app/manifests/opensesame"} {
			_, status := ask(server, "GET "+path)
			seen[status]++
		}
	}

	if seen[200]+seen[404] == 0 || len(seen) > 2 {
		t.Errorf("answers: %v", seen)
	}

	_, status := ask(server, "GET /v2/secret/app/tags/list")
	equal(t, status, 404, "status in the end")
}
