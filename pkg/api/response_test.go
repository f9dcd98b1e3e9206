package api

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// conn is a ResponseWriter that records what its ReadFrom is given, as that of
// net/http, which uses sendfile(2) for an *io.LimitedReader over an *os.File.
type conn struct {
	http.ResponseWriter
	sources []io.Reader
	limits  []int64
	out     bytes.Buffer
	take    func(src io.Reader) (int64, error) // nil = all
}

func (c *conn) ReadFrom(src io.Reader) (int64, error) {
	limited, ok := src.(*io.LimitedReader)
	if !ok {
		return 0, errors.New("not limited")
	}

	c.sources, c.limits = append(c.sources, limited.R), append(c.limits, limited.N)

	if c.take != nil {
		return c.take(src)
	}

	return c.out.ReadFrom(src)
}

func (c *conn) SetWriteDeadline(time.Time) error { return nil }

func tempFile(t *testing.T, content []byte) *os.File {
	t.Helper()

	path := filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}

	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = file.Close() })

	return file
}

func respond(w http.ResponseWriter, window time.Duration) *response {
	return newResponse(w, httptest.NewRequest(http.MethodGet, "/", nil), window)
}

func pattern(size int) []byte {
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i * 7 / 3)
	}

	return data
}

func TestFilesReachNetHTTP(t *testing.T) {
	content := pattern(resumablePiece + 1000)

	for what, body := range map[string]func(*os.File) io.Reader{
		"a file":         func(f *os.File) io.Reader { return f },
		"a limited file": func(f *os.File) io.Reader { return io.LimitReader(f, 1<<40) },
	} {
		t.Run(what, func(t *testing.T) {
			file := tempFile(t, content)
			under := &conn{ResponseWriter: httptest.NewRecorder()}
			w := respond(under, time.Minute)

			if err := sendBytes(w, body(file), int64(len(content))); err != nil {
				t.Fatal(err)
			}

			equal(t, len(under.sources), 2, "pieces")
			equal(t, under.sources[0], io.Reader(file), "what sendfile gets")
			equal(t, under.limits[0], int64(resumablePiece), "the first piece")
			equal(t, bytes.Equal(under.out.Bytes(), content), true, "content")
			equal(t, w.bytes, int64(len(content)), "bytes in the log")
		})
	}
}

// A client that takes its quota in a window is slow, not stalled, also where a piece
// is larger than the quota.
func TestSlowClientIsResumed(t *testing.T) {
	const window = 2 * time.Second

	content := pattern(10_000)
	file := tempFile(t, content)
	under := &conn{ResponseWriter: httptest.NewRecorder()}

	// Each time the deadline passes after a quota of bytes, while more was read from
	// the file than was sent.
	under.take = func(src io.Reader) (int64, error) {
		buf := make([]byte, quota(window)+500)

		if n, err := io.ReadFull(src, buf); err != nil { // the rest
			under.out.Write(buf[:n])

			return int64(n), ignoreEOF(err)
		}

		under.out.Write(buf[:quota(window)])

		return quota(window), os.ErrDeadlineExceeded
	}

	if err := sendBytes(respond(under, window), file, int64(len(content))); err != nil {
		t.Fatal(err)
	}

	equal(t, bytes.Equal(under.out.Bytes(), content), true, "content")
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}

	return err
}

func TestStalledClientIsNotResumed(t *testing.T) {
	window := 2 * time.Second

	for what, c := range map[string]struct {
		took  int64
		err   error
		plain bool
		body  func(*os.File) io.Reader
	}{
		"less than the quota": {quota(window) - 1, os.ErrDeadlineExceeded, true, nil},
		"another error":       {quota(window), io.ErrClosedPipe, true, nil},
		"TLS or HTTP/2":       {quota(window), os.ErrDeadlineExceeded, false, nil},
		"not a file": {quota(window), os.ErrDeadlineExceeded, true, func(f *os.File) io.Reader {
			return io.MultiReader(f)
		}},
	} {
		t.Run(what, func(t *testing.T) {
			file := tempFile(t, pattern(10_000))
			under := &conn{ResponseWriter: httptest.NewRecorder()}
			under.take = func(io.Reader) (int64, error) { return c.took, c.err }

			w := respond(under, window)
			w.plain = c.plain

			body := io.Reader(file)
			if c.body != nil {
				body = c.body(file)
			}

			err := sendBytes(w, body, 10_000)
			equal(t, errors.Is(err, c.err), true, "error")
			equal(t, problemOf(err).status, statusClientGone, "status")
			equal(t, len(under.sources), 1, "tries")
		})
	}
}

// What cannot be gone on with is sent in pieces that every client may take a whole
// window for.
func TestPiecesAreSmallWhereTheyCannotBeResumed(t *testing.T) {
	under := &conn{ResponseWriter: httptest.NewRecorder()}
	window := 4 * time.Second

	if err := sendBytes(respond(under, window), strings.NewReader(strings.Repeat("x", 10_000)), 10_000); err != nil {
		t.Fatal(err)
	}

	for _, limit := range under.limits {
		equal(t, limit <= quota(window), true, "piece")
	}

	equal(t, len(under.limits), 3, "pieces")
}

// A writer that has no ReadFrom, as that of HTTP/2.
func TestWithoutReadFrom(t *testing.T) {
	rec := httptest.NewRecorder()
	content := pattern(200_000)

	if err := sendBytes(respond(rec, time.Minute), bytes.NewReader(content), int64(len(content))); err != nil {
		t.Fatal(err)
	}

	equal(t, bytes.Equal(rec.Body.Bytes(), content), true, "content")
}
