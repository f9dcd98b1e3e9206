package zb

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"

	. "github.com/smartystreets/goconvey/convey"

	"zotregistry.io/zot/internal/wire"
)

func TestCleanup(t *testing.T) {
	Convey("What was pushed is deleted, manifests first", t, func() {
		var (
			mu    sync.Mutex
			asked []string
		)

		status := http.StatusAccepted
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				w.WriteHeader(http.StatusInternalServerError) // and it may have been stored

				return
			}

			mu.Lock()
			defer mu.Unlock()

			asked = append(asked, r.Method+" "+r.URL.Path)

			w.WriteHeader(status)
		}))
		defer s.Close()

		base, err := url.Parse(s.URL)
		So(err, ShouldBeNil)

		transport, err := newTransport(Options{Concurrency: 1}, base)
		So(err, ShouldBeNil)

		defer mustClose(t, transport)

		stage := &stage{bench: &bench{
			opts: Options{Repo: "zb", Concurrency: 1}, client: wire.NewAt(base, transport), run: "run",
		}}
		stage.note(&stage.blobs, "a", "sha256:layer")
		stage.note(&stage.blobs, "a", "sha256:layer")
		So(stage.put(t.Context(), "a", "v1", &image{digest: "sha256:manifest"}), ShouldNotBeNil)

		Convey("each once, and also where a push was not acknowledged", func() {
			So(stage.cleanup(t.Context()), ShouldBeNil)
			So(asked, ShouldResemble, []string{"DELETE /v2/a/manifests/sha256:manifest", "DELETE /v2/a/blobs/sha256:layer"})
		})

		Convey("or is gone already", func() {
			status = http.StatusNotFound

			So(stage.cleanup(t.Context()), ShouldBeNil)
			So(asked, ShouldHaveLength, 2)
		})

		Convey("or it is said that it stays", func() {
			status = http.StatusMethodNotAllowed

			err := stage.cleanup(t.Context())
			So(err, ShouldWrap, errKept)
			So(err.Error(), ShouldEndWith, "it stays below zb/run")
			So(asked, ShouldHaveLength, 1)
		})
	})
}
