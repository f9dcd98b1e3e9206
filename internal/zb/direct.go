package zb

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// direct sends requests to one address, over HTTP/1.1 without TLS. Whoever asks writes the
// request and reads the answer. net/http has two goroutines for each connection, and to switch
// between them costs more than a fast registry takes for a request. It may be used concurrently.
type direct struct {
	addr string
	dial func(ctx context.Context, network, addr string) (net.Conn, error)

	mu   sync.Mutex // guards idle
	idle []*directConn
}

// directConn is a connection. It is used by one request at a time.
type directConn struct {
	net.Conn

	in  *bufio.Reader
	out *bufio.Writer
}

const directBuffer = 64 << 10 // bytes

// roundTrip sends a request and returns the answer, and how long it took from the last byte of
// the one to the first of the other. Its body is to be closed. A connection that was idle may
// have been closed by the server: then the request is sent again, if that can be.
func (d *direct) roundTrip(req *http.Request) (*http.Response, time.Duration, error) {
	for {
		conn, wasIdle, err := d.connection(req.Context())
		if err != nil {
			return nil, 0, err
		}

		resp, wait, err := d.over(conn, req)
		if err == nil {
			return resp, wait, nil
		}

		stale := wasIdle && conn.in.Buffered() == 0 && req.Context().Err() == nil
		if err = errors.Join(err, conn.Close()); !stale || !rewind(req) {
			return nil, 0, err
		}
	}
}

// rewind has a request begin anew, and says whether that can be.
func rewind(req *http.Request) bool {
	if req.Body == nil {
		return true
	}

	if req.GetBody == nil {
		return false
	}

	body, err := req.GetBody()
	req.Body = body

	return err == nil
}

func (d *direct) connection(ctx context.Context) (conn *directConn, wasIdle bool, err error) {
	d.mu.Lock()

	if last := len(d.idle) - 1; last >= 0 {
		conn, d.idle = d.idle[last], d.idle[:last]
	}

	d.mu.Unlock()

	if conn != nil {
		return conn, true, nil
	}

	dialed, err := d.dial(ctx, "tcp", d.addr)
	if err != nil {
		return nil, false, err
	}

	return &directConn{dialed, bufio.NewReaderSize(dialed, directBuffer), bufio.NewWriterSize(dialed, directBuffer)}, false, nil
}

// over sends a request over a connection. Where ctx ends, reads and writes fail.
func (d *direct) over(conn *directConn, req *http.Request) (*http.Response, time.Duration, error) {
	stop := context.AfterFunc(req.Context(), func() { _ = conn.SetDeadline(time.Unix(1, 0)) })

	// A server may answer, and close, before it has the whole body.
	sendErr := errors.Join(req.Write(conn.out), conn.out.Flush())
	sent := time.Now()

	if _, err := conn.in.Peek(1); err != nil {
		stop()

		return nil, 0, cause(req.Context(), errors.Join(sendErr, fmt.Errorf("read answer: %w", err)))
	}

	wait := time.Since(sent)

	resp, err := readAnswer(conn.in, req)
	if err != nil {
		stop()

		return nil, 0, cause(req.Context(), errors.Join(sendErr, err))
	}

	keep := sendErr == nil && !resp.Close
	resp.Body = &directBody{ReadCloser: resp.Body, done: func(whole bool) error {
		if stop() && whole && keep {
			d.release(conn)

			return nil
		}

		return conn.Close()
	}}

	return resp, wait, nil
}

// cause prefers to say that a request took too long, or was given up.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}

	return err
}

// readAnswer reads an answer, behind those that only say that there will be one.
func readAnswer(in *bufio.Reader, req *http.Request) (*http.Response, error) {
	for {
		resp, err := http.ReadResponse(in, req)
		if err != nil || resp.StatusCode >= http.StatusOK || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, err
		}
	}
}

func (d *direct) release(conn *directConn) {
	d.mu.Lock()
	defer d.mu.Unlock()

	d.idle = append(d.idle, conn)
}

// close closes the idle connections.
func (d *direct) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()

	var failed []error
	for _, conn := range d.idle {
		failed = append(failed, conn.Close())
	}

	d.idle = nil

	return errors.Join(failed...)
}

// directBody is the body of an answer. What is left of it is read when it is closed, so that the
// connection can be used again.
type directBody struct {
	io.ReadCloser

	done func(whole bool) error
}

// Close closes the body, once.
func (b *directBody) Close() error {
	if b.done == nil {
		return nil
	}

	done := b.done
	b.done = nil

	_, err := io.Copy(io.Discard, b.ReadCloser)

	return errors.Join(b.ReadCloser.Close(), done(err == nil))
}
