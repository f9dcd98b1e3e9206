package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/auth"
	"zotregistry.io/zot/pkg/storage"
)

func TestProblems(t *testing.T) {
	sending := &net.OpError{Op: "write", Err: os.NewSyscallError("sendfile", syscall.EPIPE)}

	cases := []struct {
		err    error
		status int
		code   string
	}{
		{errNoEndpoint, 404, "UNSUPPORTED"},
		{errMethod, 405, "UNSUPPORTED"},
		{auth.ErrUnauthorized, 401, "UNAUTHORIZED"},
		{auth.ErrUnavailable, 503, "UNKNOWN"},
		{auth.ErrKeyUnknown, 404, "UNSUPPORTED"},
		{auth.ErrKeyInvalid, 400, "UNSUPPORTED"},
		{errKeyRequest, 400, "UNSUPPORTED"},
		{&auth.TooManyError{}, 429, "TOOMANYREQUESTS"},
		{errQuery, 400, "UNSUPPORTED"},
		{errHeader, 400, "UNSUPPORTED"},
		{errTooLarge, 413, "SIZE_INVALID"},
		{errTooManyTags, 414, "UNSUPPORTED"},
		{fmt.Errorf("%w: %w", errTagName, storage.ErrTagInvalid), 400, "MANIFEST_INVALID"},

		{storage.ErrNameInvalid, 400, "NAME_INVALID"},
		{storage.ErrTagInvalid, 404, "MANIFEST_UNKNOWN"},
		{storage.ErrDigestInvalid, 400, "DIGEST_INVALID"},
		{storage.ErrDigestMismatch, 400, "DIGEST_INVALID"},
		{storage.ErrSize, 400, "SIZE_INVALID"},
		{storage.ErrRange, 416, "SIZE_INVALID"},
		{storage.ErrRepoUnknown, 404, "NAME_UNKNOWN"},
		{storage.ErrBlobUnknown, 404, "BLOB_UNKNOWN"},
		{storage.ErrManifestUnknown, 404, "MANIFEST_UNKNOWN"},
		{storage.ErrUploadUnknown, 404, "BLOB_UPLOAD_UNKNOWN"},
		{storage.ErrUploadBusy, 409, "BLOB_UPLOAD_INVALID"},
		{storage.ErrInUse, 405, "UNSUPPORTED"},
		{storage.ErrPrecondition, 412, "DENIED"},
		{storage.ErrDamaged, 500, "UNKNOWN"},
		{storage.ErrFormat, 500, "UNKNOWN"},
		{storage.ErrConflict, 503, "UNKNOWN"},
		{fmt.Errorf("write: %w", &fs.PathError{Op: "write", Err: syscall.ENOSPC}), 507, "UNKNOWN"},
		{errors.Join(storage.ErrUploadUnknown, syscall.EDQUOT), 507, "UNKNOWN"},
		{&fs.PathError{Op: "open", Err: syscall.EMFILE}, 503, "UNKNOWN"},
		{&storage.QuotaError{Prefix: "a", Unit: "bytes"}, 403, "DENIED"},
		{&placesError{most: 1}, 429, "TOOMANYREQUESTS"},
		{&storage.OffsetError{Have: 1}, 416, "BLOB_UPLOAD_INVALID"},
		{&storage.ManifestError{Reason: "x"}, 400, "MANIFEST_INVALID"},
		{&storage.MissingError{Digests: []digest.Digest{someDigest}}, 400, "MANIFEST_BLOB_UNKNOWN"},

		{&bodyError{err: io.ErrUnexpectedEOF}, 400, "SIZE_INVALID"},
		{&bodyError{err: os.ErrDeadlineExceeded}, 408, "BLOB_UPLOAD_INVALID"},
		{&bodyError{err: errors.New("malformed chunk")}, 400, "BLOB_UPLOAD_INVALID"},
		{&bodyError{err: syscall.ECONNRESET}, statusClientGone, "UNKNOWN"},
		{context.Canceled, statusClientGone, "UNKNOWN"},
		{&sendError{err: sending}, statusClientGone, "UNKNOWN"},
		{&sendError{err: os.ErrDeadlineExceeded}, statusClientGone, "UNKNOWN"},

		{&sendError{err: &sourceError{err: syscall.ECONNRESET}}, 500, "UNKNOWN"},
		{&sendError{err: &fs.PathError{Op: "read", Err: syscall.EIO}}, 500, "UNKNOWN"},
		{&sendError{err: os.NewSyscallError("sendfile", syscall.EIO)}, 500, "UNKNOWN"},
		{&sourceError{err: errors.New("x")}, 500, "UNKNOWN"},
		{&panicError{value: "x"}, 500, "UNKNOWN"},
		{os.ErrDeadlineExceeded, 500, "UNKNOWN"}, // of a backend, not of the client
		{context.DeadlineExceeded, 500, "UNKNOWN"},
		{errors.New("disk on fire"), 500, "UNKNOWN"},
	}

	for _, c := range cases {
		for _, err := range []error{c.err, fmt.Errorf("do it: %w", c.err)} {
			if got := problemOf(err); got != (problem{c.status, c.code}) {
				t.Errorf("%v (%T): got %+v, want %d %s", err, c.err, got, c.status, c.code)
			}
		}
	}
}

// Each error of a role reaches the client as it stands in the table.
func TestErrorsOfRoles(t *testing.T) {
	path := "/v2/a/blobs/" + someDigest.String()

	t.Run("our own faults tell nothing but the request id", func(t *testing.T) {
		c := dialWith(t, config.HTTP{}, broken{err: fmt.Errorf("open /secret/path: %w", storage.ErrDamaged)})
		a := c.get(path).refused(t, 500, "UNKNOWN")
		equal(t, strings.Contains(a.body, "secret"), false, "the body names the path")
		equal(t, strings.Contains(a.body, a.Header.Get("X-Request-Id")), true, "the body names the request")
		equal(t, strings.Contains(c.log.String(), "/secret/path"), true, "the log names the path")
	})

	t.Run("what names a file of the server is for the log", func(t *testing.T) {
		leaky := errors.Join(storage.ErrUploadUnknown, &fs.PathError{Op: "unlink", Path: "/secret/path", Err: syscall.EPERM})
		c := dialWith(t, config.HTTP{}, broken{err: leaky})
		a := c.get(path).refused(t, 404, "BLOB_UPLOAD_UNKNOWN")
		equal(t, strings.Contains(a.body, "secret"), false, "the body names the path")
		equal(t, strings.Contains(a.body, a.Header.Get("X-Request-Id")), true, "the body names the request")
		equal(t, strings.Contains(c.log.String(), "/secret/path"), true, "the log names the path")
	})

	t.Run("what passes may be tried again", func(t *testing.T) {
		for _, err := range []error{storage.ErrConflict, storage.ErrUploadBusy} {
			a := dialWith(t, config.HTTP{}, broken{err: err}).get(path)
			equal(t, a.Header.Get("Retry-After"), "1", err.Error())
		}
	})

	t.Run("a HEAD has the headers of the error and no body", func(t *testing.T) {
		c := dialWith(t, config.HTTP{}, broken{err: storage.ErrBlobUnknown})
		equal(t, headersOf(c.head(path)), headersOf(c.get(path)), "headers")
	})

	t.Run("one manifest may lack many blobs, of which some are told", func(t *testing.T) {
		missing := &storage.MissingError{}
		for i := range 2 * maxProblems {
			missing.Digests = append(missing.Digests, digest.FromString(fmt.Sprint(i)))
		}

		equal(t, len(entries(problemOf(missing), "", missing)), maxProblems, "entries")
	})

	t.Run("an unknown path or method is answered in the same form", func(t *testing.T) {
		c := dialWith(t, config.HTTP{}, broken{})
		c.get("/").refused(t, 404, "UNSUPPORTED")
		a := c.do(http.MethodPost, path, nil).refused(t, 405, "UNSUPPORTED")
		equal(t, a.Header.Get("Allow"), "DELETE, GET, HEAD, OPTIONS", "Allow")
		equal(t, a.Header.Get("Content-Type"), "application/json", "Content-Type")
	})
}

// line is the last line of the log.
func (c *client) line() map[string]any {
	c.t.Helper()

	lines := strings.Split(strings.TrimSpace(c.log.String()), "\n")

	var line map[string]any

	c.must(json.Unmarshal([]byte(lines[len(lines)-1]), &line))

	return line
}

func TestAccessLog(t *testing.T) {
	path := "/v2/a/blobs/" + someDigest.String()

	t.Run("one line says what happened, and no secret", func(t *testing.T) {
		c := dial(t)
		c.blob("a", "some")
		c.log.Reset()
		c.get(path+"?token=secret", "Authorization: Bearer secret", "X-Request-Id: from.proxy-1").expect(t, 200)

		line := c.line()
		for name, want := range map[string]any{
			"level": "info", "method": "GET", "path": path, "status": 200.0, "bytes": 4.0, "user": "",
			"request": "from.proxy-1", "message": "request",
		} {
			equal(t, line[name], want, name)
		}

		equal(t, strings.HasPrefix(line["remote"].(string), "127.0.0.1:"), true, "remote")
		equal(t, line["duration"].(float64) > 0, true, "duration")
		equal(t, strings.Contains(c.log.String(), "secret"), false, "a secret is in the log")
		equal(t, strings.Count(c.log.String(), "\n"), 1, "lines")
	})

	t.Run("an error tells its request's id, a read has none to tell", func(t *testing.T) {
		c := dial(t)
		dgst := c.blob("a", "some")
		equal(t, c.get("/v2/a/tags/list?n=-1", "X-Request-Id: from.proxy-1").Header.Get("X-Request-Id"), "from.proxy-1", "an error")
		equal(t, c.get("/v2/a/blobs/"+dgst.String()).expect(t, 200).Header.Get("X-Request-Id"), "", "a read")
	})

	t.Run("a request id that could harm is replaced", func(t *testing.T) {
		c := dial(t)
		for _, id := range []string{`"a"`, "a b", strings.Repeat("x", maxRequestID+1)} {
			if got := c.get("/v2/a/tags/list", "X-Request-Id: "+id).expect(t, 404).Header.Get("X-Request-Id"); got == id || got == "" {
				t.Errorf("got %q", got)
			}
		}
	})

	t.Run("levels", func(t *testing.T) {
		for level, err := range map[string]error{
			"info": storage.ErrBlobUnknown, "warn": storage.ErrConflict, "error": storage.ErrDamaged,
		} {
			c := dialWith(t, config.HTTP{}, broken{err: err})
			c.get(path)
			equal(t, c.line()["level"], level, err.Error())
			equal(t, strings.Contains(c.line()["error"].(string), err.Error()), true, "the line has the error")
		}

		c := dial(t)
		c.get("/livez").expect(t, 200)
		equal(t, c.line()["level"], "debug", "probes")
	})

	t.Run("a panic is an error with a stack, and the server goes on", func(t *testing.T) {
		c := dialWith(t, config.HTTP{}, broken{open: func() (*storage.Object, error) { panic("ouch") }})
		c.get(path).refused(t, 500, "UNKNOWN")
		equal(t, c.line()["level"], "error", "level")
		equal(t, c.line()["error"], "panic: ouch", "error")
		equal(t, strings.Contains(c.line()["stack"].(string), "errors_test.go"), true, "stack")
		c.get("/livez").expect(t, 200)
	})
}

// A blob that is shorter than promised must not look whole.
func TestShortBlob(t *testing.T) {
	short := strings.Repeat("short", 2000)

	for what, body := range map[string]io.Reader{
		"ends early":     strings.NewReader(short),
		"cannot be read": io.MultiReader(strings.NewReader(short), failingReader{syscall.EIO}),
	} {
		t.Run(what, func(t *testing.T) {
			c := dialWith(t, config.HTTP{}, broken{open: stored(body, 20_000)})

			resp, err := c.http.Get(c.base + "/v2/a/blobs/" + someDigest.String())
			c.must(err)
			equal(t, resp.StatusCode, 200, "status")

			data, err := io.ReadAll(resp.Body)
			c.must(resp.Body.Close())
			equal(t, errors.Is(err, io.ErrUnexpectedEOF), true, fmt.Sprint("the client notices: ", err))
			equal(t, strings.HasPrefix(short, string(data)), true, "data")
			equal(t, c.line()["level"], "error", "level")
		})
	}

	t.Run("is longer than promised", func(t *testing.T) {
		c := dialWith(t, config.HTTP{}, broken{open: stored(strings.NewReader("0123456789"), 4)})
		equal(t, c.get("/v2/a/blobs/"+someDigest.String()).body, "0123", "body")
	})
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }
