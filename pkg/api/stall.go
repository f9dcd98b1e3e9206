package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// minRate is what a client must move, on average over a window, to be kept: bytes
// per second. A whole request may take as long as it likes; a 100 GB layer on a slow
// line is not cut (DESIGN.md, "HTTP").
const minRate = 1 << 10

// leftover bounds how long net/http may read the rest of a body that no handler
// wanted, to keep the connection for the next request.
const leftover = 5 * time.Second

// quota is how many bytes must move in a window.
func quota(window time.Duration) int64 {
	return max(minRate, int64(window.Seconds()*minRate))
}

// body is a request's body that gives up on a client that stalls. Only time inside
// Read counts: between reads an upload may wait for a buffer or a disk for as long
// as it likes. It is used by one goroutine at a time.
type body struct {
	io.ReadCloser
	ctl    *http.ResponseController
	window time.Duration // 0 = no bound

	left  time.Duration // of this window
	moved int64         // in this window, bytes
	begun bool
	ended bool // at its end, or broken
}

func newBody(rc io.ReadCloser, ctl *http.ResponseController, window time.Duration) *body {
	return &body{ReadCloser: rc, ctl: ctl, window: window, left: window}
}

// Read reads as io.Reader says. All errors but io.EOF are a *bodyError.
func (b *body) Read(p []byte) (int, error) {
	start := time.Now()
	if err := b.arm(start); err != nil {
		return 0, err
	}

	n, err := b.ReadCloser.Read(p)
	b.count(n, time.Since(start))

	if err == nil {
		return n, nil
	}

	b.ended = true
	if !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return n, &bodyError{err: err}
	}

	// From here on net/http watches the connection for the client's leaving, and
	// would take a deadline that passes while we work for just that.
	if err := b.deadline(time.Time{}); err != nil {
		return n, err
	}

	return n, io.EOF
}

// arm sets the deadlines for one read. The first may have to write "100 Continue", on a connection
// that has the deadline of the answer before.
func (b *body) arm(now time.Time) error {
	if b.window == 0 && b.begun {
		return nil
	}

	var window, left time.Time
	if b.window > 0 {
		window, left = now.Add(b.window), now.Add(b.left)
	}

	if !b.begun {
		b.begun = true
		if err := ignoreUnsupported(b.ctl.SetWriteDeadline(window)); err != nil {
			return fmt.Errorf("set write deadline: %w", err)
		}
	}

	return b.deadline(left)
}

func (b *body) deadline(t time.Time) error {
	if err := ignoreUnsupported(b.ctl.SetReadDeadline(t)); err != nil {
		return fmt.Errorf("set read deadline: %w", err)
	}

	return nil
}

// count adds what one read moved, and begins a new window if it was enough.
func (b *body) count(n int, took time.Duration) {
	b.moved += int64(n)
	b.left -= took

	if b.moved >= quota(b.window) {
		b.moved, b.left = 0, b.window
	}
}

// finish is called when the handler is done. What it left unread net/http reads, and
// without a deadline of ours it would wait for ever.
func (b *body) finish() {
	if !b.ended {
		// An error means that the connection is closed already.
		_ = b.ctl.SetReadDeadline(time.Now().Add(leftover))
	}
}

// bodyError is a request's body that could not be read to its end: the client is
// gone, has stalled, or sent less than it announced.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "read request body: " + e.err.Error() }

func (e *bodyError) Unwrap() error { return e.err }

// ignoreUnsupported drops the error of a writer that has no connection, as in tests.
func ignoreUnsupported(err error) error {
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}

	return err
}
