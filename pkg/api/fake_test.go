package api

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/access"
	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/storage"
)

// mustRules makes rules by which everyone may do some actions, in the repositories of each glob.
func mustRules(t testing.TB, everyone map[string][]string) *access.Rules {
	t.Helper()

	cfg := &config.AccessControl{Repositories: map[string]config.RepositoryPolicy{}}
	for glob, actions := range everyone {
		cfg.Repositories[glob] = config.RepositoryPolicy{AnonymousPolicy: actions}
	}

	rules, err := access.New(cfg, false)
	if err != nil {
		t.Fatal(err)
	}

	return rules
}

// serveOne calls a handler with a POST of path, and returns the status.
func serveOne(handle handler, path string, rules *access.Rules) int {
	hr := httptest.NewRequest(http.MethodPost, path, nil)
	rec := httptest.NewRecorder()
	r := &request{Request: hr, query: hr.URL.Query(), doors: &doors{rules: rules}}
	r.target, _ = parseTarget(hr.URL.Path)

	if err := handle(newResponse(rec, hr, 0), r); err != nil {
		return problemOf(err).status
	}

	return rec.Code
}

// broken is a registry whose methods fail, or do what a test says.
type broken struct {
	Registry // nil: what is not overridden panics

	err  error
	open func() (*storage.Object, error)
	take func(ctx context.Context, body io.Reader) error
}

func (b broken) StatBlob(context.Context, storage.RepoName, digest.Digest) (int64, error) {
	return 0, b.err
}

func (b broken) BlobURL(context.Context, storage.RepoName, digest.Digest) (string, error) {
	return "", nil
}

func (b broken) OpenBlob(
	context.Context, storage.RepoName, digest.Digest, storage.Range,
) (*storage.Object, error) {
	if b.open != nil {
		return b.open()
	}

	return nil, b.err
}

func (b broken) DeleteBlob(context.Context, storage.RepoName, digest.Digest, string) error {
	return b.err
}

func (b broken) AppendUpload(
	ctx context.Context, _ storage.RepoName, id string, chunk storage.Chunk,
) (storage.UploadStatus, error) {
	if b.take != nil {
		return storage.UploadStatus{ID: id}, b.take(ctx, chunk.Body)
	}

	return storage.UploadStatus{}, b.err
}

func (b broken) ListTags(
	context.Context, storage.RepoName, storage.Tag, int,
) ([]storage.Tag, bool, error) {
	return nil, false, b.err
}

// stored is a blob of size bytes, of which body holds what can be read.
func stored(body io.Reader, size int64) func() (*storage.Object, error) {
	return func() (*storage.Object, error) {
		return &storage.Object{Body: body, Size: size, Closer: io.NopCloser(nil)}, nil
	}
}
