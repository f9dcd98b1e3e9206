package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rs/zerolog"
	"golang.org/x/crypto/bcrypt"

	"zotregistry.io/zot/internal/wire"
	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/local"
)

// BenchmarkServe measures requests from the handler on: all but what net/http does, on a
// real directory.
func BenchmarkServe(b *testing.B) {
	server := onDisk(b, config.HTTP{})
	img, err := wire.NewImage(1, 9500)
	check(b, err)

	layer := digest.FromBytes(img.Blobs[1])
	for _, blob := range img.Blobs {
		post(b, server, "/v2/a/b/blobs/uploads/?digest="+digest.FromBytes(blob).String(), blob)
	}

	put := newRequest(b, http.MethodPut, "/v2/a/b/manifests/v1", string(img.Manifest))
	put.Header.Set("Content-Type", v1.MediaTypeImageManifest)
	serve(b, server, put, http.StatusCreated)

	for name, r := range map[string]*http.Request{
		"head-blob":     newRequest(b, http.MethodHead, "/v2/a/b/blobs/"+layer.String(), ""),
		"get-blob":      newRequest(b, http.MethodGet, "/v2/a/b/blobs/"+layer.String(), ""),
		"head-manifest": newRequest(b, http.MethodHead, "/v2/a/b/manifests/v1", ""),
		"get-manifest":  newRequest(b, http.MethodGet, "/v2/a/b/manifests/v1", ""),
		"get-digest":    newRequest(b, http.MethodGet, "/v2/a/b/manifests/"+img.Digest.String(), ""),
		"base":          newRequest(b, http.MethodGet, "/v2/", ""),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()

			for b.Loop() {
				serve(b, server, r, http.StatusOK)
			}
		})
	}
}

// BenchmarkServeLogin measures what a password adds to the cheapest request of all.
func BenchmarkServeLogin(b *testing.B) {
	hash, err := bcrypt.GenerateFromPassword([]byte("correct horse"), bcrypt.DefaultCost)
	check(b, err)

	file := filepath.Join(b.TempDir(), "htpasswd")
	check(b, os.WriteFile(file, fmt.Appendf(nil, "alice:%s\n", hash), 0o600))

	server := onDisk(b, config.HTTP{Auth: config.Auth{HTPasswd: &config.HTPasswd{Path: file}}})
	r := newRequest(b, http.MethodGet, "/v2/", "")
	r.SetBasicAuth("alice", "correct horse")
	b.ReportAllocs()

	for b.Loop() {
		serve(b, server, r, http.StatusOK)
	}
}

func onDisk(b *testing.B, cfg config.HTTP) http.Handler {
	b.Helper()

	dir := b.TempDir()
	root, err := local.OpenRoot(b.Context(), local.RootOptions{Path: dir, Log: zerolog.Nop()})
	check(b, err)

	shared, err := storage.Create("boltdb", storage.CacheOptions{Directory: dir, Namespace: root.ID(), Log: zerolog.Nop()})
	check(b, err)

	store, err := storage.Open(b.Context(), root, shared, storage.Options{Log: zerolog.Nop()})
	check(b, err)
	b.Cleanup(func() { check(b, store.Close(context.Background())) })

	server, err := New(cfg, store, zerolog.New(io.Discard))
	check(b, err)

	return server.Handler()
}

func check(b *testing.B, err error) {
	b.Helper()

	if err != nil {
		b.Fatal(err)
	}
}

func newRequest(b *testing.B, method, path, body string) *http.Request {
	b.Helper()

	r, err := http.NewRequestWithContext(b.Context(), method, path, strings.NewReader(body))
	check(b, err)

	if body == "" {
		r.Body = http.NoBody
	}

	return r
}

func post(b *testing.B, server http.Handler, path string, body []byte) {
	b.Helper()
	serve(b, server, newRequest(b, http.MethodPost, path, string(body)), http.StatusCreated)
}

// discard is a ResponseWriter that keeps nothing but the status.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }

func (d *discard) SetWriteDeadline(time.Time) error { return nil }

func serve(b *testing.B, server http.Handler, r *http.Request, want int) {
	b.Helper()

	w := &discard{header: http.Header{}}
	server.ServeHTTP(w, r)

	if w.status != want {
		b.Fatalf("%s %s: status %d", r.Method, r.URL, w.status)
	}
}
