package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	. "github.com/smartystreets/goconvey/convey"
)

func TestBlob(t *testing.T) {
	Convey("A blob that was pushed", t, func() {
		c := dial(t)
		dgst := c.blob("team/app", "0123456789")
		path := "/v2/team/app/blobs/" + dgst.String()

		Convey("comes whole, with its digest, length and entity tag", func() {
			a := c.get(path).expect(t, http.StatusOK)
			So(a.body, ShouldEqual, "0123456789")
			So(a.ContentLength, ShouldEqual, 10)
			So(a.Header.Get("Docker-Content-Digest"), ShouldEqual, dgst.String())
			So(a.Header.Get("ETag"), ShouldEqual, `"`+dgst.String()+`"`)
			So(a.Header.Get("Content-Type"), ShouldEqual, "application/octet-stream")
			So(a.Header.Get("Accept-Ranges"), ShouldEqual, "bytes")
		})

		Convey("has the same headers for HEAD as for GET", func() {
			So(headersOf(c.head(path)), ShouldEqual, headersOf(c.get(path)))
		})

		Convey("comes in part when a range is asked for", func() {
			a := c.get(path, "Range: bytes=2-4").expect(t, http.StatusPartialContent)
			So(a.body, ShouldEqual, "234")
			So(a.ContentLength, ShouldEqual, 3)
			So(a.Header.Get("Content-Range"), ShouldEqual, "bytes 2-4/10")

			So(c.get(path, "Range: bytes=-2").expect(t, http.StatusPartialContent).body, ShouldEqual, "89")
			So(c.get(path, "Range: bytes=8-").expect(t, http.StatusPartialContent).body, ShouldEqual, "89")
		})

		Convey("comes whole when several ranges are asked for, or a range of something else", func() {
			So(c.get(path, "Range: bytes=0-1,3-4").expect(t, http.StatusOK).body, ShouldHaveLength, 10)
			So(c.get(path, "Range: bytes=0-1", `If-Range: "other"`).expect(t, http.StatusOK).body, ShouldHaveLength, 10)
			So(c.get(path, "Range: bytes=0-1", "If-Range: "+etagOf(dgst)).body, ShouldEqual, "01")
		})

		Convey("answers a range behind its end with 416 and its size", func() {
			a := c.get(path, "Range: bytes=10-").refused(t, http.StatusRequestedRangeNotSatisfiable, "SIZE_INVALID")
			So(a.Header.Get("Content-Range"), ShouldEqual, "bytes */10")
		})

		Convey("does not come again to who has it", func() {
			for _, a := range []answer{
				c.get(path, "If-None-Match: "+etagOf(dgst)), c.head(path, "If-None-Match: *"),
				c.get(path, "If-None-Match: "+dgst.String()), c.get(path, `If-None-Match: "x", W/`+etagOf(dgst)),
			} {
				a.expect(t, http.StatusNotModified)
				So(a.body, ShouldBeEmpty)
				So(a.Header.Get("ETag"), ShouldEqual, etagOf(dgst))
			}

			c.get(path, `If-None-Match: "other"`).expect(t, http.StatusOK)
			c.get(path, "If-Match: "+etagOf(dgst)).expect(t, http.StatusOK)
			c.get(path, `If-Match: "other"`).refused(t, http.StatusPreconditionFailed, "DENIED")
			c.get(path, "If-None-Match: what").refused(t, http.StatusBadRequest, "UNSUPPORTED")
		})

		Convey("can be deleted, once", func() {
			c.do(http.MethodDelete, path, nil).expect(t, http.StatusAccepted)
			c.get(path).refused(t, http.StatusNotFound, "BLOB_UNKNOWN")
			c.head(path).expect(t, http.StatusNotFound)
			c.do(http.MethodDelete, path, nil).refused(t, http.StatusNotFound, "BLOB_UNKNOWN")
		})
	})

	Convey("A blob that was never pushed is not found, whatever is asked for", t, func() {
		c := dial(t)
		path := "/v2/team/app/blobs/" + someDigest.String()

		for _, header := range []string{"A: b", "Range: bytes=0-1", "If-None-Match: *", "If-None-Match: " + etagOf(someDigest)} {
			c.get(path, header).refused(t, http.StatusNotFound, "BLOB_UNKNOWN")
			c.head(path, header).expect(t, http.StatusNotFound)
		}
	})

	Convey("An empty blob is a blob", t, func() {
		c := dial(t)
		a := c.get("/v2/a/blobs/"+c.blob("a", "").String()).expect(t, http.StatusOK)
		So(a.ContentLength, ShouldEqual, 0)
	})

	Convey("A blob that a manifest names cannot be deleted", t, func() {
		c := dial(t)
		c.image("a", "v1", "layer")
		a := c.do(http.MethodDelete, "/v2/a/blobs/"+digest.FromString("layer").String(), nil)
		a.refused(t, http.StatusMethodNotAllowed, "UNSUPPORTED")
		So(a.Header.Get("Allow"), ShouldEqual, "GET, HEAD, OPTIONS")
	})

	Convey("sha512 is as good as sha256", t, func() {
		c := dial(t)
		dgst := digest.SHA512.FromString("x")
		a := c.send(http.MethodPost, "/v2/a/blobs/uploads/?digest="+dgst.String(), "x").expect(t, http.StatusCreated)
		So(c.get(a.Header.Get("Location")).expect(t, http.StatusOK).body, ShouldEqual, "x")
	})
}

// headersOf are the headers that say something about the content.
func headersOf(a answer) string {
	lines := []string{a.Status}

	for name, values := range a.Header {
		if name != "Date" && name != "X-Request-Id" {
			lines = append(lines, name+": "+strings.Join(values, ", "))
		}
	}

	slices.Sort(lines)

	return fmt.Sprint(lines)
}
