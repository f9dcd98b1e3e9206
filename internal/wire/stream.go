package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/opencontainers/go-digest"
)

// buffers are what bodies are read through.
var buffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// OpenBlob opens a blob for reading, unchecked. The caller closes it.
//
// Errors: ErrNotFound.
func (c *Client) OpenBlob(ctx context.Context, repo string, dgst digest.Digest) (io.ReadCloser, error) {
	resp, err := c.send(ctx, request{
		method: http.MethodGet, url: c.at(repo + "/blobs/" + dgst.String()), status: []int{http.StatusOK},
	})
	if err != nil {
		return nil, err
	}

	return resp.Body, nil
}

// ReadManifest reads a manifest by tag or by digest without keeping it, and checks that it is
// the one that is wanted. Whether the server names its digest does not matter.
//
// Errors: ErrNotFound; ErrDigest.
func (c *Client) ReadManifest(ctx context.Context, repo, ref string, want digest.Digest) (int64, error) {
	return c.read(ctx, request{
		method: http.MethodGet,
		url:    c.at(repo + "/manifests/" + ref),
		header: http.Header{"Accept": Accepted},
		status: []int{http.StatusOK},
	}, want)
}

func (c *Client) read(ctx context.Context, r request, want digest.Digest) (size int64, err error) {
	resp, err := c.send(ctx, r)
	if err != nil {
		return 0, err
	}

	defer func() { err = errors.Join(err, resp.Body.Close()) }()

	buffer := buffers.Get().(*[64 << 10]byte)
	defer buffers.Put(buffer)

	hash := want.Algorithm().Hash()

	size, err = io.CopyBuffer(hash, struct{ io.Reader }{resp.Body}, buffer[:])
	if err != nil {
		return size, fmt.Errorf("read %s: %w", r.url, err)
	}

	if got := digest.NewDigest(want.Algorithm(), hash); got != want {
		return size, fmt.Errorf("%w: want %s, got %s (%d bytes)", ErrDigest, want, got, size)
	}

	return size, nil
}

// ManifestExists says whether HEAD finds the manifest, by tag or by digest.
func (c *Client) ManifestExists(ctx context.Context, repo, ref string) (bool, error) {
	return c.exists(ctx, request{
		method: http.MethodHead,
		url:    c.at(repo + "/manifests/" + ref),
		header: http.Header{"Accept": Accepted},
		status: []int{http.StatusOK},
	})
}

func (c *Client) exists(ctx context.Context, r request) (bool, error) {
	_, err := c.exchange(ctx, r)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}

	return err == nil, err
}

// FinishFrom is Finish with size bytes of a reader. open is called again where the request has to
// be sent again, as net/http does if an idle connection turns out to be closed.
func (u *Upload) FinishFrom(ctx context.Context, dgst digest.Digest, size int64, open func() io.Reader) error {
	at := *u.loc
	query := at.Query()
	query.Set("digest", dgst.String())
	at.RawQuery = query.Encode()

	_, err := u.c.exchange(ctx, request{
		method: http.MethodPut,
		url:    &at,
		header: http.Header{"Content-Type": {"application/octet-stream"}},
		body:   open(),
		size:   size,
		again:  open,
		status: []int{http.StatusCreated},
	})

	return err
}
