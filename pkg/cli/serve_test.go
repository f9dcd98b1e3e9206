package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	. "github.com/smartystreets/goconvey/convey"

	"zotregistry.io/zot/pkg/api/config"
)

// logLines is a log that can be waited for.
type logLines struct {
	mu    sync.Mutex // guards what follows
	lines []map[string]any
	more  chan struct{} // closed, and made anew, with each line
}

func newLogLines() *logLines { return &logLines{more: make(chan struct{})} }

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()

	for text := range bytes.Lines(p) {
		line := map[string]any{}
		if err := json.Unmarshal(text, &line); err != nil {
			return 0, fmt.Errorf("log %q: %w", text, err)
		}

		l.lines = append(l.lines, line)
	}

	close(l.more)
	l.more = make(chan struct{})

	return len(p), nil
}

// find returns the first line whose message begins so, or a channel that says when to
// look again.
func (l *logLines) find(message string) (map[string]any, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()

	for _, line := range l.lines {
		if text, _ := line["message"].(string); strings.HasPrefix(text, message) {
			return line, nil
		}
	}

	return nil, l.more
}

// running is a zot that serves.
type running struct {
	url  string
	log  *logLines
	stop context.CancelFunc
	done chan error // its result, once
}

// mustStart starts do, which logs to a logLines until its context ends, and waits
// until it listens.
func mustStart(t *testing.T, do func(ctx context.Context, log *logLines) error) *running {
	t.Helper()

	ctx, cancel := context.WithCancel(t.Context())
	r := &running{log: newLogLines(), stop: cancel, done: make(chan error, 1)}

	go func() { r.done <- do(ctx, r.log) }()

	line := r.mustLog(t, "listening")

	scheme := "http://"
	if line["tls"] == true {
		scheme = "https://"
	}

	r.url = scheme + fmt.Sprint(line["address"])

	return r
}

// mustLog waits for a line whose message begins so.
func (r *running) mustLog(t *testing.T, message string) map[string]any {
	t.Helper()

	for {
		line, more := r.log.find(message)
		if line != nil {
			return line
		}

		select {
		case <-more:
		case err := <-r.done:
			t.Fatalf("it ended before it logged %q: %v", message, err)
		}
	}
}

// mustStop stops it, and fails if it did not end well.
func (r *running) mustStop(t *testing.T) {
	t.Helper()
	r.stop()

	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
}

// client trusts any certificate and keeps no connections.
var client = &http.Client{Transport: &http.Transport{
	DisableKeepAlives: true,
	TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // made by the test
}}

func mustSend(t *testing.T, req *http.Request) *http.Response {
	t.Helper()

	return mustSendBy(t, client, req)
}

func mustSendBy(t *testing.T, by *http.Client, req *http.Request) *http.Response {
	t.Helper()

	resp, err := by.Do(req)
	if err != nil {
		t.Fatal(err)
	}

	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}

	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}

	return resp
}

func mustRequest(t *testing.T, method, url string, body io.Reader) *http.Request {
	t.Helper()

	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}

	return req
}

// serving returns what mustStart starts: zot serve with a file of that content.
func serving(t *testing.T, content string) func(context.Context, *logLines) error {
	t.Helper()

	path := mustWrite(t, "config.json", content)

	return func(ctx context.Context, log *logLines) error {
		return Run(ctx, []string{"serve", path}, Streams{Out: log, Err: io.Discard})
	}
}

const small = `{"storage": {"rootDirectory": "data", "lockWait": "0s"}, "http": {"port": "0"}}`

func TestServe(t *testing.T) {
	t.Chdir(t.TempDir())

	Convey("zot serves until its context ends", t, func() {
		zot := mustStart(t, serving(t, small))
		resp := mustSend(t, mustRequest(t, http.MethodGet, zot.url+"/v2/", nil))

		So(resp.StatusCode, ShouldEqual, http.StatusOK)

		Convey("and answers the request under way before it stops", func() {
			resp := mustSend(t, mustRequest(t, http.MethodPost, zot.url+"/v2/a/blobs/uploads/", nil))
			So(resp.StatusCode, ShouldEqual, http.StatusAccepted)

			location, err := resp.Location()
			So(err, ShouldBeNil)

			body, upload := io.Pipe()
			answer := make(chan *http.Response, 1)

			failed := make(chan error, 1)
			request := mustRequest(t, http.MethodPatch, location.String(), body)
			request.Header.Set("Expect", "100-continue")

			transport := &http.Transport{DisableKeepAlives: true, ExpectContinueTimeout: time.Minute}

			go func() {
				resp, err := transport.RoundTrip(request)
				failed <- err
				answer <- resp
			}()

			_, err = upload.Write(make([]byte, 1<<20)) // the server asked for it: the request is under way
			So(err, ShouldBeNil)

			zot.stop()
			zot.mustLog(t, "stopping")

			_, err = upload.Write([]byte("the end"))
			So(err, ShouldBeNil)
			So(upload.Close(), ShouldBeNil)

			So(<-failed, ShouldBeNil)

			resp = <-answer
			So(resp.StatusCode, ShouldEqual, http.StatusAccepted)
			So(resp.Body.Close(), ShouldBeNil)
			So(<-zot.done, ShouldBeNil)
			So(zot.mustHaveLogged("stopped"), ShouldBeTrue)
		})

		Convey("a second one on the same root says which file is locked", func() {
			err := serving(t, small)(t.Context(), newLogLines())

			So(err, ShouldNotBeNil)
			So(err.Error(), ShouldContainSubstring, "storage: ")
			So(err.Error(), ShouldContainSubstring, filepath.Join("data", ".zot.lock"))
			zot.mustStop(t)
		})

		Convey("after it the root is free again", func() {
			zot.mustStop(t)
			mustStart(t, serving(t, small)).mustStop(t)
		})

		Reset(zot.stop)
	})
}

func (r *running) mustHaveLogged(message string) bool {
	line, _ := r.log.find(message)

	return line != nil
}

func TestServeFails(t *testing.T) {
	inScratch(t)

	Convey("If a sub-path cannot be opened, the other stores are closed", t, func() {
		other := mustStart(t, serving(t, `{"storage": {"rootDirectory": "elsewhere"}, "http": {"port": 0}}`))

		err := serving(t, `{"storage": {"rootDirectory": "data", "subPaths": {
			"/a": {"rootDirectory": "elsewhere", "lockWait": "0s"}}}, "http": {"port": 0}}`)(t.Context(), newLogLines())
		So(err, ShouldNotBeNil)
		So(err.Error(), ShouldContainSubstring, "storage.subPaths[/a]: ")

		other.mustStop(t)
		mustStart(t, serving(t, small)).mustStop(t)
	})

	Convey("If the port is taken, it says so, and the stores are closed", t, func() {
		other := mustStart(t, serving(t, `{"storage": {"rootDirectory": "elsewhere"}, "http": {"port": 0}}`))
		_, port, _ := strings.Cut(strings.TrimPrefix(other.url, "http://"), ":")

		err := serving(t, strings.Replace(small, `"0"`, `"`+port+`"`, 1))(t.Context(), newLogLines())
		So(err, ShouldNotBeNil)
		So(err.Error(), ShouldContainSubstring, "listen on 127.0.0.1:"+port)

		other.mustStop(t)
		mustStart(t, serving(t, small)).mustStop(t)
	})

	Convey("A file with mistakes is not served, and each line names the file", t, func() {
		err := serving(t, `{"http": {"port": "x"}}`)(t.Context(), newLogLines())
		So(err, ShouldNotBeNil)

		lines := strings.Split(err.Error(), "\n")
		So(lines, ShouldHaveLength, 2)
		So(lines[0], ShouldContainSubstring, "config.json: http.port: ")
		So(lines[1], ShouldContainSubstring, "config.json: storage.rootDirectory: ")
	})
}

func TestServeWithoutFile(t *testing.T) {
	t.Chdir(t.TempDir())

	Convey("Without a file, the data is in ./zot-data, and it says so", t, func() {
		holder := mustStart(t, serving(t, strings.Replace(small, "data", "zot-data", 1)))
		log := newLogLines()

		// Since the root is taken, it is waiting there when it is stopped.
		ctx, cancel := context.WithCancel(t.Context())
		zot := &running{log: log, done: make(chan error, 1)}

		go func() { zot.done <- Run(ctx, []string{"serve"}, Streams{Out: log, Err: io.Discard}) }()

		So(zot.mustLog(t, "no configuration file was named")["root"], ShouldEqual, "./zot-data")
		cancel()

		So(<-zot.done, ShouldBeNil)
		So(zot.mustHaveLogged("stopped before"), ShouldBeTrue)
		holder.mustStop(t)
	})
}

func TestServeStores(t *testing.T) {
	t.Chdir(t.TempDir())

	Convey("Each store has a root and a cache of its own", t, func() {
		mustStart(t, serving(t, `{
			"storage": {"rootDirectory": "data", "cacheDriver": {"name": "boltdb"}, "subPaths": {
				"/linked": {"rootDirectory": "linked", "dedupe": true},
				"/copied": {"rootDirectory": "copied", "buffers": 1048576}
			}},
			"http": {"port": 0}}`)).mustStop(t)

		So(exists("data/cache.db"), ShouldBeTrue)
		So(exists("linked/cache.db"), ShouldBeTrue)
		So(exists("copied"), ShouldBeTrue)
		So(exists("copied/cache.db"), ShouldBeFalse)
	})
}

func exists(path string) bool {
	_, err := os.Stat(path)

	return err == nil
}

// brokenServer fails to serve.
type brokenServer struct{ down bool }

func (s *brokenServer) Serve() error { return errors.New("no more files") }

func (s *brokenServer) Shutdown(context.Context) error {
	s.down = true

	return nil
}

func TestServeUntil(t *testing.T) {
	Convey("A server that fails is shut down before its error is returned", t, func() {
		server := &brokenServer{}
		err := serveUntil(t.Context(), server, zerolog.Nop())

		So(err, ShouldNotBeNil)
		So(err.Error(), ShouldContainSubstring, "no more files")
		So(server.down, ShouldBeTrue)
	})
}

func TestLogFile(t *testing.T) {
	t.Chdir(t.TempDir())

	Convey("A log file is appended to, from the level on that is set", t, func() {
		for range 2 {
			log, err := openLog(config.Log{Level: "WARN", Output: "zot.log"}, io.Discard)
			So(err, ShouldBeNil)

			log.Info().Msg("quiet")
			log.Warn().Msg("loud")
			So(log.Close(), ShouldBeNil)
		}

		data, err := os.ReadFile("zot.log")
		So(err, ShouldBeNil)
		So(strings.Count(string(data), `"message":"loud"`), ShouldEqual, 2)
		So(string(data), ShouldNotContainSubstring, "quiet")
	})

	Convey("What is no terminal gets JSON", t, func() {
		f, err := os.Create("out")
		So(err, ShouldBeNil)

		log, err := openLog(config.Log{Level: "info"}, f)
		So(err, ShouldBeNil)
		log.Info().Msg("hello")
		So(log.Close(), ShouldBeNil)
		So(f.Close(), ShouldBeNil)

		data, err := os.ReadFile("out")
		So(err, ShouldBeNil)
		So(json.Valid(data), ShouldBeTrue)
	})
}

func TestAPIKeysAfterRestart(t *testing.T) {
	t.Chdir(t.TempDir())
	mustMakeFiles(t)

	const keyed = `{"storage": {"rootDirectory": "data", "lockWait": "0s"}, "http": {"port": "0",
		"auth": {"htpasswd": {"path": "htpasswd"}, "apikey": true}}}`

	Convey("An API key is good after a restart, until it is revoked", t, func() {
		zot := mustStart(t, serving(t, keyed))
		made := mustMakeKey(t, zot.url)
		zot.mustStop(t)

		zot = mustStart(t, serving(t, keyed))
		defer zot.mustStop(t)

		So(mustAsk(t, http.MethodGet, zot.url+"/v2/", made.APIKey), ShouldEqual, http.StatusOK)
		So(mustAsk(t, http.MethodDelete, zot.url+"/zot/auth/apikey?id="+made.UUID, "secret"), ShouldEqual, http.StatusOK)
		So(mustAsk(t, http.MethodGet, zot.url+"/v2/", made.APIKey), ShouldEqual, http.StatusUnauthorized)
	})
}

type apiKey struct{ UUID, APIKey string }

// mustMakeKey makes an API key of alice's.
func mustMakeKey(t *testing.T, url string) apiKey {
	t.Helper()

	req := mustRequest(t, http.MethodPost, url+"/zot/auth/apikey", strings.NewReader(`{"label": "test"}`))
	req.SetBasicAuth("alice", "secret")

	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}

	var made apiKey

	if err := errors.Join(json.NewDecoder(resp.Body).Decode(&made), resp.Body.Close()); err != nil {
		t.Fatal(err)
	}

	return made
}

// mustAsk asks as alice, and returns the status.
func mustAsk(t *testing.T, method, url, password string) int {
	t.Helper()

	req := mustRequest(t, method, url, nil)
	req.SetBasicAuth("alice", password)

	return mustSend(t, req).StatusCode
}
