package faultproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
)

// call is one request on its way.
type call struct {
	proxy *Proxy
	w     http.ResponseWriter
	r     *http.Request
	entry *Entry
	fault *Fault // nil: none
	epoch int    // the proxy's when the request came
}

func (c *call) serve() {
	switch c.entry.Fault {
	case Late:
		c.late()
	case Duplicate:
		c.duplicate()
	case Blackhole:
		c.fault.wait(c.r.Context())
		reset(c.w)
	default:
		c.pass(c.r.Body, c.r.ContentLength)
	}
}

// pass asks the server and answers the client, with what a fault has to say before
// and after.
func (c *call) pass(body io.ReadCloser, size int64) {
	if c.disturbed(false) {
		return
	}

	res, err := c.ask(c.r.Context(), c.entry, body, size)
	if err != nil {
		reset(c.w)

		return
	}
	defer res.Body.Close()

	// The transport may read the body still; when the handler is over it must not.
	defer body.Close()

	if c.fault != nil && c.fault.rule.After && c.entry.Fault.replaces() {
		// A server may send headers before it is done, see CompleteMultipartUpload.
		_, _ = io.Copy(io.Discard, res.Body)
	}

	if !c.disturbed(true) {
		c.answer(res)
	}
}

// disturbed lets the fault act before or after the server was asked. It returns true
// if there is no more to do.
func (c *call) disturbed(after bool) bool {
	if c.fault == nil || c.fault.rule.After != after {
		return false
	}

	switch c.entry.Fault {
	case SlowDown:
		c.refuse(http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate.")
	case InternalError:
		c.refuse(http.StatusInternalServerError, "InternalError", "We encountered an internal error. Please try again.")
	case Conflict:
		c.refuse(http.StatusConflict, "ConditionalRequestConflict", "A conflicting operation occurred during this request.")
	case ErrorBody:
		c.refuse(http.StatusOK, "InternalError", "We encountered an internal error. Please try again.")
	case ConnReset:
		reset(c.w)
	case Hold:
		if c.fault.wait(c.r.Context()) {
			return false
		}

		reset(c.w) // or a handler that says nothing would say 200
	default:
		return false
	}

	return true
}

// refuse answers with an error of S3's.
func (c *call) refuse(status int, code, message string) {
	// What is not read would make net/http close the connection, and the client might
	// see that before the answer. One that waits for "100 Continue" sends nothing.
	if c.r.Header.Get("Expect") == "" {
		_, _ = io.Copy(io.Discard, c.r.Body)
	}

	c.proxy.note(func() { c.entry.Status = status })

	body := "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>" + code + "</Code><Message>" + message +
		"</Message><RequestId>" + strconv.Itoa(c.entry.Seq) + "</RequestId></Error>"
	c.w.Header().Set("Content-Type", "application/xml")
	c.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(status)
	_, _ = io.WriteString(c.w, body)
}

// hopByHop are the headers that belong to a connection.
var hopByHop = []string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

// ask sends the request to the server, with this body. The caller closes the answer.
func (c *call) ask(ctx context.Context, entry *Entry, body io.ReadCloser, size int64) (*http.Response, error) {
	out := c.r.Clone(ctx)
	out.RequestURI = ""
	out.URL.Scheme, out.URL.Host = c.proxy.target.Scheme, c.proxy.target.Host
	out.Body, out.ContentLength, out.TransferEncoding = body, size, nil

	if size == 0 {
		// One that is neither nil nor this is sent in chunks.
		out.Body = http.NoBody
	}

	for _, name := range hopByHop {
		out.Header.Del(name)
	}

	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header.Set("User-Agent", "") // or net/http adds its own
	}

	res, err := c.proxy.transport.RoundTrip(out)
	if err != nil {
		return nil, err
	}

	c.proxy.note(func() { entry.Server = res.StatusCode })

	return res, nil
}

// buffers are for bodies on their way to the client.
var buffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// answer passes the server's answer on.
func (c *call) answer(res *http.Response) {
	body := io.Reader(res.Body)

	if c.entry.Fault == Truncate {
		if res.ContentLength == 0 || c.r.Method == http.MethodHead {
			reset(c.w)

			return
		}

		body = io.LimitReader(body, max(1, res.ContentLength/2))
	}

	for _, name := range hopByHop {
		res.Header.Del(name)
	}

	for name, values := range res.Header {
		c.w.Header()[name] = values
	}

	c.proxy.note(func() { c.entry.Status = res.StatusCode })
	c.w.WriteHeader(res.StatusCode)

	buffer := buffers.Get().(*[64 << 10]byte)
	defer buffers.Put(buffer)

	_, err := io.CopyBuffer(writerOnly{c.w}, body, buffer[:])
	if err != nil || c.entry.Fault == Truncate {
		// Else the client has left, or the server has: the client must not take what it
		// got for the whole.
		cut(c.w)
	}
}

// writerOnly hides ReadFrom, which does without our buffer and takes a new one.
type writerOnly struct{ io.Writer }

// late tells the client nothing, and the server all, but later.
func (c *call) late() {
	file, size, err := keep(c.r.Body)

	reset(c.w)

	if err != nil {
		c.fault.settled()

		return
	}

	c.proxy.calls.Go(func() { c.sendLater(c.entry, file, size) })
}

// duplicate passes the request on, and tells the server the same later.
func (c *call) duplicate() {
	file, size, err := keep(c.r.Body)
	if err != nil {
		reset(c.w)
		c.fault.settled()

		return
	}

	c.pass(io.NopCloser(io.NewSectionReader(file, 0, size)), size)

	again := &Entry{Request: c.entry.Request, Fault: Duplicate, Again: true}

	c.proxy.calls.Go(func() { c.sendLater(again, file, size) })
}

// sendLater sends the request when the fault says so, and closes the file. What the
// server answers is in the log only.
func (c *call) sendLater(entry *Entry, file *os.File, size int64) {
	defer c.fault.settled()
	defer file.Close()

	// The client's connection is not what this request depends on: the proxy is.
	ctx := c.proxy.server.BaseContext(nil)

	if !c.fault.wait(ctx) {
		return
	}

	if entry.Again {
		c.proxy.again(c.epoch, entry)
	}

	res, err := c.ask(ctx, entry, io.NopCloser(io.NewSectionReader(file, 0, size)), size)
	if err != nil {
		return
	}
	defer res.Body.Close()

	_, _ = io.Copy(io.Discard, res.Body)
}

// keep reads a body into a file that has no name any more, and returns its size.
func keep(body io.Reader) (*os.File, int64, error) {
	file, err := os.CreateTemp("", "faultproxy-*")
	if err != nil {
		return nil, 0, fmt.Errorf("keep a body: %w", err)
	}

	size, err := io.Copy(file, body)
	if err := errors.Join(err, os.Remove(file.Name())); err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}

	return file, size, nil
}

// cut sends what was written of an answer, and resets the connection. It is called once:
// net/http panics where a connection that is taken away is flushed.
func cut(w http.ResponseWriter) {
	_ = http.NewResponseController(w).Flush()
	reset(w)
}

// reset closes the client's connection so that the client is told of an error. Parts of
// an answer that wait in a buffer are lost.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return // it is closed already
	}

	// Without a time to linger the kernel sends RST, not FIN.
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}

	_ = conn.Close()
}
