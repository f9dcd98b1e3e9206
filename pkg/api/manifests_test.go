package api

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	. "github.com/smartystreets/goconvey/convey"

	"zotregistry.io/zot/pkg/storage"
)

func TestManifest(t *testing.T) {
	Convey("A manifest that was pushed under a tag", t, func() {
		c := dial(t)
		body, dgst := c.image("team/app", "v1", "layer")
		byTag, byDigest := "/v2/team/app/manifests/v1", "/v2/team/app/manifests/"+dgst.String()

		Convey("comes byte for byte, by tag and by digest", func() {
			for _, path := range []string{byTag, byDigest} {
				a := c.get(path, "Accept: text/html").expect(t, http.StatusOK)
				So(a.body, ShouldEqual, body)
				So(a.ContentLength, ShouldEqual, len(body))
				So(a.Header.Get("Content-Type"), ShouldEqual, mediaTypeManifest)
				So(a.Header.Get("Docker-Content-Digest"), ShouldEqual, dgst.String())
				So(a.Header.Get("ETag"), ShouldEqual, etagOf(dgst))
				So(headersOf(c.head(path)), ShouldEqual, headersOf(a))
			}
		})

		Convey("does not come again to who has it", func() {
			for _, a := range []answer{
				c.get(byTag, "If-None-Match: "+etagOf(dgst)), c.head(byDigest, "If-None-Match: "+etagOf(dgst)),
			} {
				a.expect(t, http.StatusNotModified)
				So(a.Header.Get("Docker-Content-Digest"), ShouldEqual, dgst.String())
			}
		})

		Convey("loses the tag that is deleted, and no more", func() {
			c.do(http.MethodDelete, byTag, nil).expect(t, http.StatusAccepted)
			c.get(byTag).refused(t, http.StatusNotFound, "MANIFEST_UNKNOWN")
			c.head(byTag).expect(t, http.StatusNotFound)
			c.get(byDigest).expect(t, http.StatusOK)
		})

		Convey("goes with its tags when it is deleted", func() {
			c.do(http.MethodDelete, byDigest, nil).expect(t, http.StatusAccepted)
			c.get(byTag).refused(t, http.StatusNotFound, "MANIFEST_UNKNOWN")
			c.do(http.MethodDelete, byDigest, nil).refused(t, http.StatusNotFound, "MANIFEST_UNKNOWN")
		})

		Convey("cannot be deleted while an index names it", func() {
			c.manifest("team/app", "all", fmt.Sprintf(
				`{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":%d}]}`,
				mediaTypeManifest, dgst, len(body)), mediaTypeIndex)
			a := c.do(http.MethodDelete, byDigest, nil).refused(t, http.StatusMethodNotAllowed, "UNSUPPORTED")
			So(a.Header.Get("Allow"), ShouldEqual, "GET, HEAD, OPTIONS, PUT")
		})
	})
}

func TestManifestPut(t *testing.T) {
	Convey("A manifest that is pushed", t, func() {
		c := dial(t)
		body, dgst := c.image("a", "v1", "layer")
		path := "/v2/a/manifests/"
		put := func(reference, body string, headers ...string) answer {
			return c.send(http.MethodPut, path+reference, body, headers...)
		}

		Convey("is answered with where it is", func() {
			a := put("v2", body).expect(t, http.StatusCreated)
			So(a.Header.Get("Location"), ShouldEqual, path+dgst.String())
			So(a.Header.Get("Docker-Content-Digest"), ShouldEqual, dgst.String())
			So(a.ContentLength, ShouldEqual, 0)
			So(a.Header.Get("OCI-Subject"), ShouldBeEmpty)
		})

		Convey("may have parameters in its media type, which are dropped", func() {
			put("v2", body, "Content-Type: "+mediaTypeManifest+" ; charset=utf-8").expect(t, http.StatusCreated)
			So(c.get(path+"v2").Header.Get("Content-Type"), ShouldEqual, mediaTypeManifest)
		})

		Convey("by digest gets all the tags of the query", func() {
			a := put(dgst.String()+"?tag=x&tag=y&tag=x", body).expect(t, http.StatusCreated)
			So(a.Header.Values("OCI-Tag"), ShouldResemble, []string{"x", "y"})
			So(c.get(path+"y").Header.Get("Docker-Content-Digest"), ShouldEqual, dgst.String())
		})

		Convey("may have many tags, but not any number", func() {
			tags := "?tag=t" + strings.Join(make([]string, 40), "&tag=u")
			put(dgst.String()+tags, body).expect(t, http.StatusCreated)
			put(dgst.String()+"?"+strings.Repeat("tag=t&", maxTags+1), body).refused(t, 414, "UNSUPPORTED")
		})

		Convey("is refused under a name that no tag can have", func() {
			put("-x", body).refused(t, 400, "MANIFEST_INVALID")
			put(dgst.String()+"?tag=-x", body).refused(t, 400, "MANIFEST_INVALID")
			c.get(path+"-x").refused(t, 404, "MANIFEST_UNKNOWN")
		})

		Convey("is refused under another digest, or a broken one", func() {
			put(someDigest.String(), body).refused(t, 400, "DIGEST_INVALID")
			put("sha256:x", body).refused(t, 400, "DIGEST_INVALID")
		})

		Convey("is refused if it is not one", func() {
			a := put("v2", "not JSON", "Content-Type: "+mediaTypeManifest).refused(t, 400, "MANIFEST_INVALID")
			So(a.body, ShouldContainSubstring, `"detail":{"field":`)
			put("v2", "").refused(t, 400, "MANIFEST_INVALID")
		})

		Convey("is refused if what it names is not there, each of them by name", func() {
			other := strings.ReplaceAll(body, digest.FromString("layer").String(), someDigest.String())
			other = strings.ReplaceAll(other, digest.FromString("{}").String(), digest.FromString("no").String())
			a := put("v2", other).refused(t, 400, "MANIFEST_BLOB_UNKNOWN MANIFEST_BLOB_UNKNOWN")
			So(a.body, ShouldContainSubstring, `"detail":{"digest":"`+someDigest.String()+`"}`)
		})

		Convey("is refused if it is too large, at once where its length is known", func() {
			a := put("v2", strings.Repeat(" ", storage.MaxManifest+1)).expect(t, 413)
			So(a.codes(), ShouldEqual, "SIZE_INVALID")
			stream := io.MultiReader(strings.NewReader(body), strings.NewReader(strings.Repeat(" ", storage.MaxManifest)))
			c.do(http.MethodPut, path+"v2", stream).refused(t, 413, "SIZE_INVALID")
		})

		Convey("says that its subject was noticed", func() {
			subject := fmt.Sprintf(`,"subject":{"mediaType":%q,"digest":%q,"size":1}}`, mediaTypeManifest, someDigest)
			a := put("v2", strings.TrimSuffix(body, "}")+subject).expect(t, http.StatusCreated)
			So(a.Header.Get("OCI-Subject"), ShouldEqual, someDigest.String())
		})

		Convey("may be one of Docker's", func() {
			const docker = "application/vnd.docker.distribution.manifest.v2+json"
			put("docker", strings.ReplaceAll(body, mediaTypeManifest, docker), "Content-Type: "+docker).expect(t, 201)
			So(c.get(path+"docker").Header.Get("Content-Type"), ShouldEqual, docker)
		})
	})
}

func TestConditionalManifest(t *testing.T) {
	Convey("Given two images, one of them called v1", t, func() {
		c := dial(t)
		one, oneDigest := c.image("a", "v1", "one")
		two, twoDigest := c.image("a", "", "two")
		path := "/v2/a/manifests/"
		put := func(reference, body, header string) answer {
			return c.send(http.MethodPut, path+reference, body, header)
		}
		points := func(tag string, dgst digest.Digest) {
			So(c.head(path+tag).Header.Get("Docker-Content-Digest"), ShouldEqual, dgst.String())
		}

		Convey("a tag is created once", func() {
			put("v1", two, "If-None-Match: *").refused(t, 412, "DENIED")
			points("v1", oneDigest)
			put("v2", two, "If-None-Match: *").expect(t, 201)
			put("v2", two, "If-None-Match: *").refused(t, 412, "DENIED")
		})

		Convey("a tag is moved only from where it was seen", func() {
			put("v1", two, "If-Match: "+etagOf(twoDigest)).refused(t, 412, "DENIED")
			put("v1", two, "If-Match: W/"+etagOf(oneDigest)).refused(t, 412, "DENIED")
			put("v1", two, "If-Match: "+etagOf(oneDigest)).expect(t, 201)
			points("v1", twoDigest)
		})

		Convey("a tag is moved only if it is there", func() {
			put("new", two, "If-Match: *").refused(t, 412, "DENIED")
			put("new", two, `If-Match: W/"x", ""`).refused(t, 412, "DENIED")
			put("new", two, `If-None-Match: "", "x"`).expect(t, 201)
			put("v1", two, "If-Match: *").expect(t, 201)
		})

		Convey("several tags are set all or none", func() {
			query := twoDigest.String() + "?tag=v1&tag=v2"
			put(query, two, "If-None-Match: *").refused(t, 412, "DENIED")
			c.get(path+"v2").refused(t, 404, "MANIFEST_UNKNOWN")
			put(twoDigest.String()+"?tag=v2&tag=v3", two, "If-None-Match: *").expect(t, 201)
			points("v3", twoDigest)
		})

		Convey("a digest without tags is a thing that is there or not", func() {
			put(oneDigest.String(), one, "If-None-Match: *").refused(t, 412, "DENIED")
			put(oneDigest.String(), one, "If-Match: "+etagOf(oneDigest)).expect(t, 201)
			three := one + " "
			threeDigest := digest.FromString(three).String()
			put(threeDigest, three, "If-Match: *").refused(t, 412, "DENIED")
			put(threeDigest, three, "If-None-Match: *").expect(t, 201)
		})

		Convey("a tag is deleted only as it was seen", func() {
			del := func(reference, header string) answer {
				return c.do(http.MethodDelete, path+reference, nil, header)
			}
			del("v1", "If-Match: "+etagOf(twoDigest)).refused(t, 412, "DENIED")
			points("v1", oneDigest)
			del("v1", "If-Match: "+etagOf(oneDigest)).expect(t, 202)
			del("v1", "If-Match: *").refused(t, 412, "DENIED")
			del(oneDigest.String(), "If-Match: "+etagOf(twoDigest)).refused(t, 412, "DENIED")
			del(oneDigest.String(), "If-Match: *").expect(t, 202)
		})

		Convey("a condition that cannot be read changes nothing", func() {
			put("v1", two, "If-Match: sha256").refused(t, 400, "UNSUPPORTED")
			put("v1", two, `If-None-Match: "x`).refused(t, 400, "UNSUPPORTED")
			c.do(http.MethodDelete, path+"v1", nil, "If-Match: x").refused(t, 400, "UNSUPPORTED")
			points("v1", oneDigest)
		})
	})
}
