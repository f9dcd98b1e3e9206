package wire

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Upload is an upload session. It must not be used concurrently.
type Upload struct {
	c   *Client
	loc *url.URL
}

// StartUpload opens a session in repo.
func (c *Client) StartUpload(ctx context.Context, repo string) (*Upload, error) {
	u := &Upload{c: c, loc: c.at(repo + "/blobs/uploads/")}

	return u, u.step(ctx, request{method: http.MethodPost, url: u.loc, status: []int{http.StatusAccepted}})
}

// MountBlob asks for a blob of another repository, and says whether it was mounted. If
// not, the session that was opened instead is left alone.
func (c *Client) MountBlob(ctx context.Context, repo string, dgst digest.Digest, from string) (bool, error) {
	instead, err := c.MountOrStart(ctx, repo, dgst, from)

	return err == nil && instead == nil, err
}

// MountOrStart asks for a blob of another repository, and returns the session that was
// opened instead, nil if the blob was mounted.
func (c *Client) MountOrStart(ctx context.Context, repo string, dgst digest.Digest, from string) (instead *Upload, err error) {
	at := c.at(repo + "/blobs/uploads/")
	at.RawQuery = url.Values{"mount": {dgst.String()}, "from": {from}}.Encode()

	resp, err := c.send(ctx, request{
		method: http.MethodPost, url: at, status: []int{http.StatusCreated, http.StatusAccepted},
	})
	if err != nil {
		return nil, err
	}

	if err := resp.Body.Close(); err != nil || resp.StatusCode == http.StatusCreated {
		return nil, err
	}

	loc, err := at.Parse(resp.Header.Get("Location"))
	if err != nil {
		return nil, fmt.Errorf("location of POST %s: %w", at, err)
	}

	return &Upload{c: c, loc: loc}, nil
}

// At returns the same session, to be continued at another replica. The one that it was
// made from must not be used any more.
func (u *Upload) At(c *Client) *Upload {
	loc := *u.loc
	loc.Scheme, loc.Host = c.base.Scheme, c.base.Host

	return &Upload{c: c, loc: &loc}
}

// step sends r and follows the Location of the answer.
func (u *Upload) step(ctx context.Context, r request) error {
	header, err := u.c.exchange(ctx, r)
	if err != nil {
		return err
	}

	loc, err := r.url.Parse(header.Get("Location"))
	if err != nil {
		return fmt.Errorf("location of %s %s: %w", r.method, r.url, err)
	}

	u.loc = loc

	return nil
}

// Append sends one chunk with its Content-Range; from is the offset of its first byte.
func (u *Upload) Append(ctx context.Context, from int64, chunk []byte) error {
	return u.step(ctx, request{
		method: http.MethodPatch,
		url:    u.loc,
		header: http.Header{
			"Content-Type":  {"application/octet-stream"},
			"Content-Range": {fmt.Sprintf("%d-%d", from, from+int64(len(chunk))-1)},
		},
		body:   bytes.NewReader(chunk),
		status: []int{http.StatusAccepted},
	})
}

// Stream sends body in one PATCH without a length, as docker does.
func (u *Upload) Stream(ctx context.Context, body io.Reader) error {
	return u.step(ctx, request{
		method: http.MethodPatch,
		url:    u.loc,
		header: http.Header{"Content-Type": {"application/octet-stream"}},
		body:   struct{ io.Reader }{body}, // hides the length from net/http
		status: []int{http.StatusAccepted},
	})
}

// Finish sends the rest of the bytes, which may be none, and closes the session.
func (u *Upload) Finish(ctx context.Context, dgst digest.Digest, rest []byte) error {
	return u.FinishFrom(ctx, dgst, int64(len(rest)), func() io.Reader { return bytes.NewReader(rest) })
}

// Cancel ends the session and drops its bytes.
//
// Errors: ErrNotFound if the session is over or was never there.
func (u *Upload) Cancel(ctx context.Context) error {
	_, err := u.c.exchange(ctx, request{method: http.MethodDelete, url: u.loc, status: []int{http.StatusNoContent}})

	return err
}

// Offset asks how many bytes the server has kept.
//
// Errors: ErrNotFound if the session is over or was never there.
func (u *Upload) Offset(ctx context.Context) (int64, error) {
	header, err := u.c.exchange(ctx, request{
		method: http.MethodGet, url: u.loc, status: []int{http.StatusNoContent},
	})
	if err != nil {
		return 0, err
	}

	if loc := header.Get("Location"); loc != "" {
		if u.loc, err = u.loc.Parse(loc); err != nil {
			return 0, fmt.Errorf("location of the upload: %w", err)
		}
	}

	return kept(header.Get("Range"))
}

// kept reads "0-<last byte>". An empty upload has no last byte: servers say "0-0",
// "0--1" or nothing, and "0-0" may be one byte as well, which is why the tests never
// stop after the first.
func kept(header string) (int64, error) {
	_, last, _ := strings.Cut(strings.TrimPrefix(header, "bytes="), "-")
	if last == "" || last == "0" {
		return 0, nil
	}

	n, err := strconv.ParseInt(last, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("range %q of an upload: %w", header, err)
	}

	return n + 1, nil
}
