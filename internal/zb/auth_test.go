package zb

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/smartystreets/goconvey/convey"

	"zotregistry.io/zot/internal/wire"
)

// tokens is a registry of nothing that wants a token for each repository, and who hands them out.
type tokens struct {
	*httptest.Server

	asked []string // scopes
}

func mustClose(t *testing.T, transport *transport) {
	t.Helper()

	if err := transport.close(); err != nil {
		t.Error(err)
	}
}

func mustServeTokens(t *testing.T) *tokens {
	t.Helper()

	s := &tokens{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /token", func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "a:b" {
			w.WriteHeader(http.StatusUnauthorized)

			return
		}

		scopes := strings.Join(r.URL.Query()["scope"], " ")
		s.asked = append(s.asked, scopes)
		fmt.Fprintf(w, `{"token": %q}`, scopes)
	})
	mux.HandleFunc("/v2/", func(w http.ResponseWriter, r *http.Request) {
		repo := repositoryOf(r.URL.Path)
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")

		if !slices.Contains(strings.Fields(token), "repository:"+repo+":pull,push,delete") {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="r",scope="repository:%s:pull"`, s.URL, repo))
			w.WriteHeader(http.StatusUnauthorized)

			return
		}

		w.WriteHeader(http.StatusCreated)
	})

	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)

	return s
}

func (s *tokens) mustConnect(t *testing.T, credentials string) *wire.Client {
	t.Helper()

	base, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}

	transport, err := newTransport(Options{Auth: credentials, Concurrency: 1}, base)
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { mustClose(t, transport) })

	return wire.NewAt(base, transport)
}

func TestTokens(t *testing.T) {
	Convey("Where a registry wants tokens", t, func() {
		s := mustServeTokens(t)

		Convey("one is got for each repository, and a body is sent again", func() {
			client := s.mustConnect(t, "me:a:b")

			for range 2 {
				So(client.PutManifest(t.Context(), "a/b", "v1", "a/b", []byte("{}")), ShouldBeNil)
			}

			So(client.PutManifest(t.Context(), "c", "v1", "a/b", []byte("{}")), ShouldBeNil)
			So(s.asked, ShouldResemble, []string{"repository:a/b:pull,push,delete", "repository:c:pull,push,delete"})
		})

		Convey("a mount asks for both repositories", func() {
			mounted, err := s.mustConnect(t, "me:a:b").MountBlob(t.Context(), "to", "sha256:x", "from")
			So(err, ShouldBeNil)
			So(mounted, ShouldBeTrue)
			So(s.asked, ShouldResemble, []string{"repository:to:pull,push,delete repository:from:pull"})
		})

		Convey("wrong credentials are an error that says so", func() {
			err := s.mustConnect(t, "me:wrong").PutManifest(t.Context(), "a", "v1", "a/b", nil)
			So(err, ShouldNotBeNil)
			So(err.Error(), ShouldContainSubstring, "get a token of")
		})
	})
}

func TestBasic(t *testing.T) {
	Convey("A name and a password go to the registry, and to no other host", t, func() {
		var seen []string

		bucket := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			seen = append(seen, "bucket "+r.Header.Get("Authorization"))
		}))
		defer bucket.Close()

		registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			user, password, _ := r.BasicAuth()
			seen = append(seen, user+" "+password)

			http.Redirect(w, r, bucket.URL, http.StatusTemporaryRedirect)
		}))
		defer registry.Close()

		// Of nothing: what the bucket sends.
		const empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

		client := (&tokens{Server: registry}).mustConnect(t, "me:secret")
		body, err := client.Blob(t.Context(), "a", empty)
		So(err, ShouldBeNil)
		So(len(body), ShouldEqual, 0)
		So(seen, ShouldResemble, []string{"me secret", "bucket "})
	})
}

func TestTrust(t *testing.T) {
	Convey("A certificate that no authority has signed", t, func() {
		s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		defer s.Close()

		s.Config.ErrorLog = log.New(io.Discard, "", 0) // of those who do not trust it

		base, err := url.Parse(s.URL)
		So(err, ShouldBeNil)

		ask := func(o Options) error {
			o.Concurrency = 1

			transport, err := newTransport(o, base)
			if err != nil {
				return err
			}

			defer func() { mustClose(t, transport) }()

			_, err = wire.NewAt(base, transport).BlobExists(t.Context(), "a", "sha256:x")

			return err
		}

		Convey("is refused", func() {
			So(ask(Options{}), ShouldNotBeNil)
		})

		Convey("is taken if it is named, or if any is", func() {
			path := filepath.Join(t.TempDir(), "ca.pem")
			block := &pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}
			So(os.WriteFile(path, pem.EncodeToMemory(block), 0o600), ShouldBeNil)

			So(ask(Options{CACert: path}), ShouldBeNil)
			So(ask(Options{Insecure: true}), ShouldBeNil)
		})

		Convey("is not found in a file without one", func() {
			path := filepath.Join(t.TempDir(), "ca.pem")
			So(os.WriteFile(path, []byte("none"), 0o600), ShouldBeNil)

			err := ask(Options{CACert: path})
			So(err, ShouldNotBeNil)
			So(err.Error(), ShouldContainSubstring, "has no certificate")
		})
	})
}

func TestFirstByte(t *testing.T) {
	Convey("Of each request the wait for the first byte is recorded, if there is an answer", t, func() {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
		base, err := url.Parse(s.URL)
		So(err, ShouldBeNil)

		transport, err := newTransport(Options{Concurrency: 1}, base)
		So(err, ShouldBeNil)

		defer func() { mustClose(t, transport) }()

		rec := newRecorder()
		transport.rec.Store(rec)

		client := wire.NewAt(base, transport)
		_, err = client.BlobExists(t.Context(), "a", "sha256:x")
		So(err, ShouldBeNil)

		s.Close()

		_, err = client.BlobExists(t.Context(), "a", "sha256:x")
		So(err, ShouldNotBeNil)
		So(kindOf(err), ShouldEqual, "no answer")
		So(rec.requests, ShouldEqual, 2)
		So(rec.firstByte.TotalCount(), ShouldEqual, 1)
		So(rec.firstByte.Max(), ShouldBeLessThan, int64(time.Minute))
	})
}
