// Package wire speaks the registry protocol by hand. Unlike a real client it never
// retries and hides nothing, so that a test sees each answer.
package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"

	"github.com/opencontainers/go-digest"
)

// ErrNotFound is what a 404 becomes.
var ErrNotFound = errors.New("not found")

// StatusError is an answer with another status than the request wanted.
type StatusError struct {
	Method, URL string
	Status      int
	Body        string // the first bytes of the answer
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s %s: status %d: %s", e.Method, e.URL, e.Status, e.Body)
}

// Is makes a 404 match ErrNotFound.
func (e *StatusError) Is(target error) bool {
	return target == ErrNotFound && e.Status == http.StatusNotFound
}

// Client talks to one registry. It may be used concurrently.
type Client struct {
	base *url.URL
	http *http.Client
}

// New returns a client for the registry at addr (host:port), over plain HTTP.
// Close it.
func New(addr string) *Client {
	return &Client{
		base: &url.URL{Scheme: "http", Host: addr},
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
}

// Close drops the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// request is one exchange. Status lists what is welcome; all else is a StatusError.
type request struct {
	method string
	url    *url.URL
	header http.Header
	body   io.Reader
	size   int64            // of body, where net/http cannot know it
	again  func() io.Reader // body from its begin, where net/http cannot get it
	status []int
}

// prepare makes the request that net/http sends.
func (r request) prepare(ctx context.Context) (*http.Request, error) {
	if r.body == nil { // a URL need not be written and read once more
		req := &http.Request{Method: r.method, URL: r.url, Host: r.url.Host, Header: r.header}
		if r.header == nil {
			req.Header = http.Header{}
		}

		return req.WithContext(ctx), nil
	}

	req, err := http.NewRequestWithContext(ctx, r.method, r.url.String(), r.body)
	if err != nil {
		return nil, err
	}

	if r.size > 0 {
		req.ContentLength = r.size
	}

	if r.size > 0 && r.again != nil {
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(r.again()), nil }
	}

	maps.Copy(req.Header, r.header)

	return req, nil
}

// send returns an answer with a welcome status; the caller closes its body.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	req, err := r.prepare(ctx)
	if err != nil {
		return nil, err
	}

	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}

	for _, s := range r.status {
		if resp.StatusCode == s {
			return resp, nil
		}
	}

	defer resp.Body.Close()

	return nil, unwelcome(r, resp)
}

func unwelcome(r request, resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, 400))

	return errors.Join(&StatusError{
		Method: r.method, URL: r.url.String(), Status: resp.StatusCode, Body: string(body),
	}, err)
}

// exchange sends r and drops the answer's body.
func (c *Client) exchange(ctx context.Context, r request) (http.Header, error) {
	resp, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}

	_, err = io.Copy(io.Discard, resp.Body)

	return resp.Header, errors.Join(err, resp.Body.Close())
}

// at returns the URL of a path below /v2/, whose slashes stay slashes.
func (c *Client) at(path string) *url.URL {
	u := *c.base
	u.Path = "/v2/" + path

	return &u
}

// BlobExists says whether HEAD finds the blob.
func (c *Client) BlobExists(ctx context.Context, repo string, dgst digest.Digest) (bool, error) {
	return c.exists(ctx, request{
		method: http.MethodHead, url: c.at(repo + "/blobs/" + dgst.String()), status: []int{http.StatusOK},
	})
}

// Blob reads a blob whole and checks it.
//
// Errors: ErrNotFound; ErrDigest if what came is not what was asked for.
func (c *Client) Blob(ctx context.Context, repo string, dgst digest.Digest) ([]byte, error) {
	resp, err := c.send(ctx, request{
		method: http.MethodGet, url: c.at(repo + "/blobs/" + dgst.String()), status: []int{http.StatusOK},
	})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()

	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read blob %s of %s: %w", dgst, repo, err)
	}

	return body, check(dgst, body)
}

// ErrDigest says that a registry served other bytes than the digest names.
var ErrDigest = errors.New("served bytes do not match their digest")

func check(dgst digest.Digest, body []byte) error {
	if got := dgst.Algorithm().FromBytes(body); got != dgst {
		return fmt.Errorf("%w: want %s, got %s (%d bytes)", ErrDigest, dgst, got, len(body))
	}

	return nil
}

// PutManifest pushes a manifest by tag or by digest.
func (c *Client) PutManifest(ctx context.Context, repo, ref, mediaType string, body []byte) error {
	return c.PutManifestIf(ctx, repo, ref, mediaType, body, nil)
}

// PutManifestIf pushes a manifest with the conditions that are in header.
func (c *Client) PutManifestIf(ctx context.Context, repo, ref, mediaType string, body []byte, header http.Header) error {
	all := http.Header{"Content-Type": {mediaType}}
	maps.Copy(all, header)

	_, err := c.exchange(ctx, request{
		method: http.MethodPut,
		url:    c.at(repo + "/manifests/" + ref),
		header: all,
		body:   bytes.NewReader(body),
		status: []int{http.StatusCreated},
	})

	return err
}

// DeleteManifest deletes a tag, or a manifest by its digest.
//
// Errors: ErrNotFound.
func (c *Client) DeleteManifest(ctx context.Context, repo, ref string) error {
	return c.delete(ctx, repo+"/manifests/"+ref)
}

// DeleteBlob deletes a blob of a repository.
//
// Errors: ErrNotFound.
func (c *Client) DeleteBlob(ctx context.Context, repo string, dgst digest.Digest) error {
	return c.delete(ctx, repo+"/blobs/"+dgst.String())
}

func (c *Client) delete(ctx context.Context, path string) error {
	_, err := c.exchange(ctx, request{method: http.MethodDelete, url: c.at(path), status: []int{http.StatusAccepted}})

	return err
}

// Accepted are the media types that Manifest asks for.
var Accepted = []string{
	"application/vnd.oci.image.manifest.v1+json",
	"application/vnd.oci.image.index.v1+json",
	"application/vnd.docker.distribution.manifest.v2+json",
	"application/vnd.docker.distribution.manifest.list.v2+json",
}

// Manifest reads a manifest by tag or by digest, and checks it against the digest
// that the server names.
//
// Errors: ErrNotFound; ErrDigest.
func (c *Client) Manifest(ctx context.Context, repo, ref string) ([]byte, digest.Digest, error) {
	resp, err := c.send(ctx, request{
		method: http.MethodGet,
		url:    c.at(repo + "/manifests/" + ref),
		header: http.Header{"Accept": Accepted},
		status: []int{http.StatusOK},
	})
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()

	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, "", fmt.Errorf("read manifest %s of %s: %w", ref, repo, err)
	}

	dgst, err := digest.Parse(resp.Header.Get("Docker-Content-Digest"))
	if err != nil {
		return nil, "", fmt.Errorf("digest header of manifest %s of %s: %w", ref, repo, err)
	}

	return body, dgst, check(dgst, body)
}
