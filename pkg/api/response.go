package api

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// resumablePiece is how much of a file is given to sendfile(2) at once. A client
// that does not take it all in a window is no stall as long as it takes its quota.
const resumablePiece = 4 << 20

// copyBuffer is the size of the buffer between a source and a writer that cannot do
// better.
const copyBuffer = 32 << 10

// response is the ResponseWriter that handlers see. It remembers what was sent, and
// gives up on a client that stalls: each piece of a body has a deadline of its own.
type response struct {
	http.ResponseWriter
	ctl    http.ResponseController
	window time.Duration // 0 = no bound
	armed  time.Time     // when the deadline was set last

	// plain: HTTP/1 without TLS. Only there a write that timed out can be gone on
	// with; TLS and HTTP/2 are broken by it.
	plain bool

	begins func(status int) // called before the status is sent; nil = nothing

	status int   // 0 = nothing was sent yet
	bytes  int64 // of the body, sent

	values []string  // of headers that set has set
	room   [8]string // for values: as many as an answer has, nearly always
}

func newResponse(rw http.ResponseWriter, r *http.Request, window time.Duration) *response {
	w := &response{
		ResponseWriter: rw,
		ctl:            *http.NewResponseController(rw),
		window:         window,
		plain:          r.TLS == nil && r.ProtoMajor == 1,
	}
	w.values = w.room[:0]

	return w
}

// set sets a header, as http.Header.Set does. The name is in its canonical form, and the
// value takes no memory of its own: every answer has some of these.
func (w *response) set(name, value string) {
	w.values = append(w.values, value)
	last := len(w.values) - 1
	w.Header()[name] = w.values[last : last+1 : last+1]
}

// Unwrap lets an http.ResponseController find the connection.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader sends a status, once.
func (w *response) WriteHeader(status int) {
	if w.status != 0 {
		return
	}

	if w.begins != nil {
		w.begins(status)
	}

	w.status = status
	_ = w.arm() // if there is no connection any more, the first write tells
	w.ResponseWriter.WriteHeader(status)
}

// Write sends p in pieces.
func (w *response) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)

	sent := 0

	for {
		piece := p[sent:min(len(p), sent+int(w.piece()))]
		if err := w.arm(); err != nil {
			return sent, failSend(err)
		}

		n, err := w.ResponseWriter.Write(piece)
		sent += n
		w.bytes += int64(n)

		if err != nil || sent == len(p) {
			return sent, failSend(err)
		}
	}
}

// ReadFrom hands r to the wrapped writer, piece by piece. Without it io.Copy would
// see a plain Writer, and net/http could not use sendfile(2) for blobs.
func (w *response) ReadFrom(r io.Reader) (int64, error) {
	w.WriteHeader(http.StatusOK)

	limited, ok := r.(*io.LimitedReader)
	if !ok {
		limited = &io.LimitedReader{R: r, N: 1<<63 - 1}
	}

	pieces := w.newPieces(limited.R, limited.N)
	defer pieces.close()

	for limited.N > 0 && !pieces.ended {
		n, err := pieces.send(limited.N)
		limited.N -= n
		w.bytes += n

		if err != nil {
			return pieces.sent, failSend(err)
		}
	}

	return pieces.sent, nil
}

// piece is how many bytes a client must take in a window.
func (w *response) piece() int64 {
	if w.window == 0 {
		return resumablePiece
	}

	return quota(w.window)
}

// arm sets the deadline of the next piece, unless most of it is left from the piece before. The
// first time it takes away what an earlier request on this connection has left.
func (w *response) arm() error {
	now := time.Now()
	if !w.armed.IsZero() && now.Sub(w.armed) <= w.window/16 {
		return nil
	}

	var deadline time.Time
	if w.window > 0 {
		deadline = now.Add(w.window)
	}

	if err := ignoreUnsupported(w.ctl.SetWriteDeadline(deadline)); err != nil {
		return fmt.Errorf("set write deadline: %w", err)
	}

	w.armed = now

	return nil
}

// sendError is an answer that could not be sent whole.
type sendError struct{ err error }

func (e *sendError) Error() string { return "send: " + e.err.Error() }

func (e *sendError) Unwrap() error { return e.err }

func failSend(err error) error {
	if err == nil {
		return nil
	}

	return &sendError{err: err}
}

// pieces sends a body piece by piece.
type pieces struct {
	w     *response
	src   io.Reader
	size  int64     // of a piece
	file  io.Seeker // src, if a piece that timed out can be gone on with; or nil
	start int64     // where file began
	buf   []byte    // for a writer that has no ReadFrom (HTTP/2)
	sent  int64
	ended bool          // src is at its end
	large *bufio.Reader // over src, if much comes from what is no file; or nil
}

func (w *response) newPieces(src io.Reader, left int64) *pieces {
	p := &pieces{w: w, src: src, size: w.piece()}

	if _, ok := w.ResponseWriter.(io.ReaderFrom); !ok {
		p.buf = make([]byte, min(p.size, copyBuffer))
	}

	file, ok := src.(*os.File)
	if !ok {
		p.src = sourceReader{src}
		p.ahead(left)

		return p
	}

	// A pipe cannot be sought in: it is sent like any other reader.
	if start, err := file.Seek(0, io.SeekCurrent); err == nil && w.plain {
		p.file, p.start, p.size = file, start, max(p.size, resumablePiece)
	}

	return p
}

// sourceBuffer is how much of what is no file is read at once, in bytes: pieces are
// smaller, and each read from a network costs a system call.
const sourceBuffer = 256 << 10

var sourceBuffers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, sourceBuffer) }}

// ahead reads src in large steps, if more than one is left.
func (p *pieces) ahead(left int64) {
	if left <= copyBuffer {
		return
	}

	p.large = sourceBuffers.Get().(*bufio.Reader) //nolint:forcetypeassert // New makes them
	p.large.Reset(p.src)
	p.src = p.large
}

// close gives the buffer back.
func (p *pieces) close() {
	if p.large != nil {
		p.large.Reset(nil)
		sourceBuffers.Put(p.large)
	}
}

// send sends a piece of at most left bytes.
func (p *pieces) send(left int64) (int64, error) {
	if err := p.w.arm(); err != nil {
		return 0, err
	}

	// The LimitedReader is our own and stands directly over the file: net looks
	// through one, not through two.
	piece := &io.LimitedReader{R: p.src, N: min(p.size, left)}
	want := piece.N

	n, err := io.CopyBuffer(p.w.ResponseWriter, piece, p.buf)
	p.sent += n

	if err != nil {
		return n, p.resume(n, err)
	}

	p.ended = n < want

	return n, nil
}

// resume turns the error of a piece into nil if the client is only slow. The file is
// set to what the client has: who knows how much was read ahead.
func (p *pieces) resume(n int64, err error) error {
	slow := errors.Is(err, os.ErrDeadlineExceeded) && n >= quota(p.w.window)
	if !slow || p.file == nil {
		return err
	}

	if _, err := p.file.Seek(p.start+p.sent, io.SeekStart); err != nil {
		return fmt.Errorf("go on at byte %d: %w", p.start+p.sent, err)
	}

	return nil
}

// sourceReader marks the errors of a source, so that they are not taken for those of
// the client's connection.
type sourceReader struct{ io.Reader }

func (r sourceReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &sourceError{err: err}
	}

	return n, err
}

type sourceError struct{ err error }

func (e *sourceError) Error() string { return "read stored bytes: " + e.err.Error() }

func (e *sourceError) Unwrap() error { return e.err }
