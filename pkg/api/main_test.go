package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"zotregistry.io/zot/internal/printable"
	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client speaks to a server of its own. A method fails the test if there is no
// answer.
type client struct {
	t        *testing.T
	base     string
	http     *http.Client
	registry Registry
	server   *Server
	log      *logBuffer
	stop     func() error // ends the server; the end of the test does so, too
}

// logBuffer is a log that is read while it may be written. The line of a request is
// in it before a small answer is.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()

	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()

	return b.buf.String()
}

func (b *logBuffer) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()

	b.buf.Reset()
}

// answer is what came back, body and all.
type answer struct {
	*http.Response
	body string
}

// openRegistry opens a store in memory.
func openRegistry(t *testing.T) Registry {
	t.Helper()

	store, err := storage.Open(t.Context(), storagetest.NewMemory().Driver(), storagetest.NewMapCache(),
		storage.Options{Log: zerolog.Nop()})
	if err != nil {
		t.Fatalf("open store: %v", err)
	}

	t.Cleanup(func() {
		if err := store.Close(context.Background()); err != nil {
			t.Errorf("close store: %v", err)
		}
	})

	return store
}

// dial serves a store in memory.
func dial(t *testing.T) *client { return dialWith(t, config.HTTP{}, openRegistry(t)) }

// dialWith serves registry on a free port until the test ends.
func dialWith(t *testing.T, cfg config.HTTP, registry Registry, options ...Option) *client {
	t.Helper()

	cfg.Address, cfg.Port = "127.0.0.1", "0"
	c := &client{t: t, log: &logBuffer{}, registry: registry}
	c.http = &http.Client{
		Transport:     &http.Transport{},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}

	server, err := New(cfg, registry, zerolog.New(printable.Writer{Writer: c.log}), options...)
	c.must(err)

	if now, limits := time.Now(), server.doors.Load().limits; limits != nil { // nothing is refilled, however slow the machine
		limits.now = func() time.Time { return now }
	}

	c.server = server

	addr, err := server.Listen()
	c.must(err)

	c.base = "http://" + addr.String()
	served := make(chan error, 1)

	go func() { served <- server.Serve() }()

	c.stop = sync.OnceValue(func() error {
		c.http.CloseIdleConnections()

		return errors.Join(server.Shutdown(context.Background()), <-served)
	})

	t.Cleanup(func() {
		if err := c.stop(); err != nil {
			t.Errorf("stop server: %v", err)
		}
	})

	return c
}

func (c *client) must(err error) {
	c.t.Helper()

	if err != nil {
		c.t.Fatal(err)
	}
}

// do sends a request; headers are "Name: value". A body that is a string has a
// length, any other reader is sent in chunks.
func (c *client) do(method, path string, body io.Reader, headers ...string) answer {
	c.t.Helper()

	if !strings.Contains(path, "://") {
		path = c.base + path
	}

	req, err := http.NewRequestWithContext(c.t.Context(), method, path, body)
	c.must(err)

	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Add(name, value)
	}

	resp, err := c.http.Do(req)
	c.must(err)

	data, err := io.ReadAll(resp.Body)
	c.must(errors.Join(err, resp.Body.Close()))

	return answer{Response: resp, body: string(data)}
}

func (c *client) get(path string, headers ...string) answer {
	c.t.Helper()

	return c.do(http.MethodGet, path, nil, headers...)
}

func (c *client) head(path string, headers ...string) answer {
	c.t.Helper()

	return c.do(http.MethodHead, path, nil, headers...)
}

// send sends a string.
func (c *client) send(method, path, body string, headers ...string) answer {
	c.t.Helper()

	return c.do(method, path, strings.NewReader(body), headers...)
}

// expect checks the status.
func (a answer) expect(t *testing.T, status int) answer {
	t.Helper()

	if a.StatusCode != status {
		t.Fatalf("%s %s: got status %d, want %d: %s", a.Request.Method, a.Request.URL, a.StatusCode, status, a.body)
	}

	return a
}

// codes are the error codes of the body, "" if it is no error.
func (a answer) codes() string {
	var body errorBody
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		return "not JSON: " + a.body
	}

	codes := make([]string, len(body.Errors))
	for i, entry := range body.Errors {
		codes[i] = entry.Code
	}

	return strings.Join(codes, " ")
}

// refused checks the status and the codes of an error.
func (a answer) refused(t *testing.T, status int, codes string) answer {
	t.Helper()
	a.expect(t, status)
	equal(t, a.codes(), codes, a.Request.Method+" "+a.Request.URL.String())

	return a
}

func equal(t *testing.T, got, want any, what string) {
	t.Helper()

	if got != want {
		t.Errorf("%s: got %.300v, want %.300v", what, got, want)
	}
}

// blob pushes a blob.
func (c *client) blob(repo, content string) digest.Digest {
	c.t.Helper()

	dgst := digest.FromString(content)
	c.send(http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+dgst.String(), content).expect(c.t, http.StatusCreated)

	return dgst
}

// image pushes an image of one layer that is called reference, or by its digest if
// that is "". It returns the manifest.
func (c *client) image(repo, reference, layer string) (string, digest.Digest) {
	c.t.Helper()

	return c.manifest(repo, reference, fmt.Sprintf(
		`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]}`,
		mediaTypeManifest, c.descriptor(repo, "{}"), c.descriptor(repo, layer)))
}

// attach pushes a manifest whose subject is given.
func (c *client) attach(repo string, subject digest.Digest, artifactType, note string) digest.Digest {
	c.t.Helper()

	_, dgst := c.manifest(repo, "", fmt.Sprintf(
		`{"schemaVersion":2,"mediaType":%q,"artifactType":%q,"config":%s,"layers":[],`+
			`"subject":{"mediaType":%q,"digest":%q,"size":2},"annotations":{"note":%q}}`,
		mediaTypeManifest, artifactType, c.descriptor(repo, "{}"), mediaTypeManifest, subject, note))

	return dgst
}

// manifest pushes a manifest, an image's if no other type is given.
func (c *client) manifest(repo, reference, body string, mediaType ...string) (string, digest.Digest) {
	c.t.Helper()

	dgst := digest.FromString(body)
	if reference == "" {
		reference = dgst.String()
	}

	c.send(http.MethodPut, "/v2/"+repo+"/manifests/"+reference, body,
		"Content-Type: "+append(mediaType, mediaTypeManifest)[0]).
		expect(c.t, http.StatusCreated)

	return body, dgst
}

func (c *client) descriptor(repo, content string) string {
	c.t.Helper()

	return fmt.Sprintf(`{"mediaType":"application/octet-stream","digest":%q,"size":%d}`,
		c.blob(repo, content), len(content))
}

const mediaTypeManifest = "application/vnd.oci.image.manifest.v1+json"
