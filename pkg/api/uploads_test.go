package api

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	. "github.com/smartystreets/goconvey/convey"

	"zotregistry.io/zot/pkg/api/config"
)

// start begins an upload and returns where it goes on.
func (c *client) start(repo, query string) string {
	c.t.Helper()

	a := c.do(http.MethodPost, "/v2/"+repo+"/blobs/uploads/"+query, nil).expect(c.t, http.StatusAccepted)
	equal(c.t, a.Header.Get("Range"), "0-0", "Range of a new upload")
	equal(c.t, a.ContentLength, int64(0), "Content-Length")

	location := a.Header.Get("Location")
	equal(c.t, location, "/v2/"+repo+"/blobs/uploads/"+a.Header.Get("Docker-Upload-UUID"), "Location")

	return location
}

func TestUpload(t *testing.T) {
	content := "0123456789"
	dgst := digest.FromString(content)
	blob := "/v2/a/b/blobs/" + dgst.String()

	Convey("Given an upload", t, func() {
		c := dial(t)
		location := c.start("a/b", "")
		put := location + "?digest=" + dgst.String()

		// pulls says that the blob is there.
		pulls := func(a answer) {
			a.expect(t, http.StatusCreated)
			So(a.Header.Get("Location"), ShouldEqual, blob)
			So(a.Header.Get("Docker-Content-Digest"), ShouldEqual, dgst.String())
			So(c.get(blob).expect(t, http.StatusOK).body, ShouldEqual, content)
			c.get(location).refused(t, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
		}

		Convey("the whole blob may come with PUT", func() { pulls(c.send(http.MethodPut, put, content)) })

		Convey("it may come as a stream of unknown length", func() {
			c.do(http.MethodPatch, location, io.MultiReader(strings.NewReader(content))).expect(t, http.StatusAccepted)
			pulls(c.do(http.MethodPut, put, nil))
		})

		Convey("it may come in chunks, the last of them with PUT", func() {
			a := c.send(http.MethodPatch, location, content[:4], "Content-Range: 0-3").expect(t, http.StatusAccepted)
			So(a.Header.Get("Range"), ShouldEqual, "0-3")
			So(a.Header.Get("Location"), ShouldEqual, location)

			status := c.get(location).expect(t, http.StatusNoContent)
			So(status.Header.Get("Range"), ShouldEqual, "0-3")
			So(status.Header.Get("Location"), ShouldEqual, location)
			So(headersOf(c.head(location)), ShouldEqual, headersOf(status))

			c.send(http.MethodPatch, location, content[4:6]).expect(t, http.StatusAccepted)
			pulls(c.send(http.MethodPut, put, content[6:], "Content-Range: 6-9"))
		})

		Convey("a chunk at the wrong place is refused, and told where to go on", func() {
			c.send(http.MethodPatch, location, content[:4], "Content-Range: 0-3").expect(t, http.StatusAccepted)

			for _, a := range []answer{
				c.send(http.MethodPatch, location, "x", "Content-Range: 9-9"),
				c.send(http.MethodPatch, location, "x", "Content-Range: 0-0"),
				c.send(http.MethodPut, put, "x", "Content-Range: 9-9"),
			} {
				a.refused(t, http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID")
				So(a.Header.Get("Range"), ShouldEqual, "0-3")
				So(a.Header.Get("Location"), ShouldEqual, location)
				So(a.body, ShouldContainSubstring, `"detail":{"offset":4}`)
			}

			pulls(c.send(http.MethodPut, put, content[4:], "Content-Range: 4-9"))
		})

		Convey("a chunk whose headers contradict each other is refused before it is read", func() {
			c.send(http.MethodPatch, location, "abc", "Content-Range: 0-9").refused(t, 400, "SIZE_INVALID")
			c.send(http.MethodPatch, location, "abc", "Content-Range: bytes 0-2").refused(t, 400, "UNSUPPORTED")
			c.send(http.MethodPut, put, "abc", "Content-Range: 2-0").refused(t, 400, "UNSUPPORTED")
			c.do(http.MethodPatch, location, nil, "Content-Range: 0-9").refused(t, 400, "SIZE_INVALID")
			pulls(c.send(http.MethodPut, put, content))
		})

		Convey("a stream whose range announces another length is refused", func() {
			stream := io.MultiReader(strings.NewReader("abc"))
			c.do(http.MethodPatch, location, stream, "Content-Range: 0-9").refused(t, 400, "SIZE_INVALID")
		})

		Convey("a client waits for 100 Continue and gets it", func() {
			c.http.Transport.(*http.Transport).ExpectContinueTimeout = 1 << 40
			pulls(c.send(http.MethodPut, put, content, "Expect: 100-continue"))
		})

		Convey("a wrong digest is refused", func() {
			c.send(http.MethodPut, location+"?digest="+someDigest.String(), content).refused(t, 400, "DIGEST_INVALID")
			c.get(blob).refused(t, http.StatusNotFound, "BLOB_UNKNOWN")
		})

		Convey("a digest must be there, valid and of a kind that is known", func() {
			for _, query := range []string{"", "?digest=", "?digest=x", "?digest=sha256:x", "?digest=md5:d41d8cd98f00b2"} {
				c.send(http.MethodPut, location+query, content).refused(t, 400, "DIGEST_INVALID")
			}

			pulls(c.send(http.MethodPut, put, content))
		})

		Convey("it can be cancelled, once", func() {
			c.do(http.MethodDelete, location, nil).expect(t, http.StatusNoContent)
			c.do(http.MethodDelete, location, nil).refused(t, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
			c.send(http.MethodPatch, location, "x").refused(t, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
			c.send(http.MethodPut, put, "x").refused(t, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
		})

		Convey("it is not known in another repository", func() {
			other := strings.Replace(location, "a/b", "c", 1)
			c.get(other).refused(t, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
		})
	})
}

func TestUploadStart(t *testing.T) {
	Convey("An upload is begun for the algorithm that the client names", t, func() {
		c := dial(t)
		dgst := digest.SHA512.FromString("x")
		location := c.start("a", "?digest-algorithm=sha512")
		c.send(http.MethodPut, location+"?digest="+dgst.String(), "x").expect(t, http.StatusCreated)
		c.do(http.MethodPost, "/v2/a/blobs/uploads/?digest-algorithm=md5", nil).refused(t, 400, "DIGEST_INVALID")
	})

	Convey("A slash at the end is not needed", t, func() {
		dial(t).do(http.MethodPost, "/v2/a/blobs/uploads", nil).expect(t, http.StatusAccepted)
	})

	Convey("Locations are absolute where it is known how clients see us", t, func() {
		c := dialWith(t, config.HTTP{ExternalURL: "https://registry.example/"}, openRegistry(t))
		a := c.do(http.MethodPost, "/v2/a/blobs/uploads/", nil)
		So(a.Header.Get("Location"), ShouldStartWith, "https://registry.example/v2/a/blobs/uploads/")
	})
}

func TestMonolithicPost(t *testing.T) {
	Convey("A blob pushed with one POST", t, func() {
		c := dial(t)
		path := "/v2/a/blobs/uploads/?digest="

		Convey("is there when it is right", func() {
			dgst := digest.FromString("x")
			a := c.send(http.MethodPost, path+dgst.String(), "x").expect(t, http.StatusCreated)
			So(a.Header.Get("Location"), ShouldEqual, "/v2/a/blobs/"+dgst.String())
			So(a.Header.Get("Docker-Content-Digest"), ShouldEqual, dgst.String())
		})

		Convey("is refused when it is wrong, also when it is empty", func() {
			c.send(http.MethodPost, path+someDigest.String(), "x").refused(t, 400, "DIGEST_INVALID")
			c.do(http.MethodPost, path+someDigest.String(), nil).refused(t, 400, "DIGEST_INVALID")
			c.send(http.MethodPost, path+"sha256:x", "x").refused(t, 400, "DIGEST_INVALID")
		})
	})
}

func TestMount(t *testing.T) {
	Convey("A blob of another repository", t, func() {
		c := dial(t)
		dgst := c.blob("from/here", "content")
		path := "/v2/to/there/blobs/uploads/?mount=" + dgst.String()

		mounted := func(a answer) {
			a.expect(t, http.StatusCreated)
			So(a.Header.Get("Location"), ShouldEqual, "/v2/to/there/blobs/"+dgst.String())
			So(c.get(a.Header.Get("Location")).body, ShouldEqual, "content")
		}

		Convey("is mounted from where the client says", func() { mounted(c.do(http.MethodPost, path+"&from=from/here", nil)) })
		Convey("is mounted from where the cache says", func() { mounted(c.do(http.MethodPost, path, nil)) })

		Convey("is not mounted from where it is not: an upload begins", func() {
			a := c.do(http.MethodPost, path+"&from=other", nil).expect(t, http.StatusAccepted)
			c.send(http.MethodPut, a.Header.Get("Location")+"?digest="+dgst.String(), "content").expect(t, 201)
		})

		Convey("is not mounted from where the user may not read", func() {
			h := uploadHandlers{uploads: c.registry, blobs: c.registry}
			for _, query := range []string{"", "&from=from/here"} {
				equal(t, serveOne(h.post, path+query, mustRules(t, nil)), http.StatusAccepted, query)
			}
		})

		Convey("is asked for in a way that can be understood", func() {
			c.do(http.MethodPost, path+"&from=BAD", nil).refused(t, 400, "NAME_INVALID")
			c.do(http.MethodPost, "/v2/a/blobs/uploads/?mount=x&from=b", nil).refused(t, 400, "DIGEST_INVALID")
		})
	})

	Convey("A blob that nobody has begins an upload with its algorithm", t, func() {
		c := dial(t)
		dgst := digest.SHA512.FromString("x")
		a := c.do(http.MethodPost, "/v2/a/blobs/uploads/?mount="+dgst.String(), nil).expect(t, http.StatusAccepted)
		c.send(http.MethodPut, a.Header.Get("Location")+"?digest="+dgst.String(), "x").expect(t, http.StatusCreated)
	})
}
