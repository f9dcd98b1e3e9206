package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"syscall"
)

// ErrNobody says that no process serves the root.
var ErrNobody = errors.New("no zot serves here")

// Client asks the process that serves a root. It may be used concurrently. Close lets go
// of its connections.
type Client struct{ http *http.Client }

var _ Store = (*Client)(nil)

// Dial finds out whether a process serves root.
//
// Errors: ErrNobody.
func Dial(ctx context.Context, root string) (*Client, error) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return dialSocket(ctx, root) }

	conn, err := dial(ctx, "", "")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOTDIR) {
		return nil, fmt.Errorf("%w: %w", ErrNobody, err)
	}

	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", SocketPath(root), err)
	}

	return &Client{http: &http.Client{Transport: &http.Transport{DialContext: dial}}}, conn.Close()
}

// Close lets go of the connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// ask makes a call. It takes as long as that takes, or until ctx ends, which ends the call,
// too.
//
// Errors: *RemoteError.
func ask[A, R any](ctx context.Context, c *Client, of call[A, R], args A) (result R, err error) {
	resp, err := c.post(ctx, of.path(), args)
	if err != nil {
		return result, err
	}
	defer resp.Body.Close()

	err = readAnswer(resp, of.name, &result)

	return result, err
}

// post sends a call.
func (c *Client) post(ctx context.Context, path string, args any) (*http.Response, error) {
	body, err := json.Marshal(args)
	if err != nil {
		return nil, fmt.Errorf("encode arguments: %w", err)
	}

	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://zot"+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask zot: %w", err)
	}

	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the zot that serves: %w", err)
	}

	return resp, nil
}

// readAnswer reads a result, or an error.
func readAnswer(resp *http.Response, name string, result any) error {
	answer := json.NewDecoder(resp.Body)

	switch resp.StatusCode {
	case http.StatusOK:
		if err := answer.Decode(result); err != nil {
			return fmt.Errorf("answer of the zot that serves: %w", err)
		}

		return nil
	case http.StatusNotFound:
		return fmt.Errorf("the zot that serves is of another version, and does not know %q", name)
	}

	var told failure
	if err := answer.Decode(&told); err != nil {
		return fmt.Errorf("answer of the zot that serves: %s: %w", resp.Status, err)
	}

	return &RemoteError{told}
}
