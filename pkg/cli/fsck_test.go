package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	. "github.com/smartystreets/goconvey/convey"

	"zotregistry.io/zot/pkg/storage"
)

// mustPushImage pushes an image without layers, whose config is content, as a:v1.
func mustPushImage(t *testing.T, url, content string) digest.Digest {
	t.Helper()

	dgst := digest.FromString(content)
	resp := mustSend(t, mustRequest(t, http.MethodPost, url+"/v2/a/blobs/uploads/?digest="+dgst.String(), strings.NewReader(content)))
	So(resp.StatusCode, ShouldEqual, http.StatusCreated)

	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": []any{},
		"config": map[string]any{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": dgst, "size": len(content)},
	})
	So(err, ShouldBeNil)

	put := mustRequest(t, http.MethodPut, url+"/v2/a/manifests/v1", strings.NewReader(string(manifest)))
	put.Header.Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
	So(mustSend(t, put).StatusCode, ShouldEqual, http.StatusCreated)

	return dgst
}

func TestFsck(t *testing.T) {
	t.Chdir(t.TempDir())

	Convey("Given a zot that serves an image", t, func() {
		dir := t.TempDir()
		path := mustWrite(t, "config.json", fmt.Sprintf(`{"storage": {"rootDirectory": %q}, "http": {"port": "0"}}`, dir))
		start := func() *running {
			return mustStart(t, func(ctx context.Context, log *logLines) error {
				return Run(ctx, []string{"serve", path}, Streams{Out: log, Err: io.Discard})
			})
		}

		zot, serves := start(), true
		stop := func() {
			if serves {
				zot.mustStop(t)
			}

			serves = false
		}

		Reset(stop)

		dgst := mustPushImage(t, zot.url, "{}")
		blob := dir + "/" + storage.BlobKey("a", dgst)
		of := func() int {
			return mustSend(t, mustRequest(t, http.MethodGet, zot.url+"/v2/a/blobs/"+dgst.String(), nil)).StatusCode
		}

		Convey("fsck finds nothing, and says so", func() {
			out, _, err := runToEnd(t, "fsck", "-c", path)

			So(err, ShouldBeNil)
			So(Status(err), ShouldEqual, 0)
			So(out, ShouldContainSubstring, "1 repositories, 1 manifests, 2 blobs read")
			So(out, ShouldContainSubstring, "0 problems")
		})

		Convey("a byte that is flipped is found, and never served again", func() {
			So(os.WriteFile(blob, []byte("{x"), 0o600), ShouldBeNil)
			So(of(), ShouldEqual, http.StatusOK)

			out, _, err := runToEnd(t, "scrub", "-c", path)

			So(Status(err), ShouldEqual, 1)
			So(out, ShouldContainSubstring, "problem: blob-damaged: a@"+dgst.String())
			So(of(), ShouldNotEqual, http.StatusOK)

			Convey("nor after a start", func() {
				stop()

				zot, serves = start(), true
				So(of(), ShouldNotEqual, http.StatusOK)

				out, _, err := runToEnd(t, "fsck", "-c", path, "--repair", "--json")
				So(Status(err), ShouldEqual, 1)

				var report storage.CheckReport

				So(json.Unmarshal([]byte(out), &report), ShouldBeNil)
				So(report.Problems, ShouldEqual, 1)
				So(exists(dir+"/"+report.Findings[0].Quarantined), ShouldBeTrue)
				So(of(), ShouldNotEqual, http.StatusOK)

				mustPushImage(t, zot.url, "{}")
				So(of(), ShouldEqual, http.StatusOK)

				_, _, err = runToEnd(t, "fsck", "-c", path)
				So(err, ShouldBeNil)
			})
		})

		Convey("fsck opens the directory where nobody serves it", func() {
			stop()
			So(os.Remove(blob), ShouldBeNil)

			out, _, err := runToEnd(t, "fsck", "-c", path)
			So(Status(err), ShouldEqual, 1)
			So(out, ShouldContainSubstring, "blob-missing")
		})
	})

	Convey("What cannot be checked is another status", t, func() {
		_, _, err := runToEnd(t, "fsck", "-c", mustWrite(t, "none.json", `{"storage": {"rootDirectory": "none"}}`))

		So(Status(err), ShouldEqual, 2)
	})
}
