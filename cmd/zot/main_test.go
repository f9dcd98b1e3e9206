package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	. "github.com/smartystreets/goconvey/convey"
	"go.uber.org/goleak"
)

// asZot is set where this test binary is to be zot itself.
const asZot = "ZOT_TEST_IS_ZOT"

func TestMain(m *testing.M) {
	if os.Getenv(asZot) != "" {
		os.Exit(run())
	}

	goleak.VerifyTestMain(m)
}

// process is a zot that serves in a process of its own.
type process struct {
	cmd *exec.Cmd
	log *bufio.Scanner
	url string
	err strings.Builder
}

// mustStart starts zot serve in a new directory, and waits until it listens.
func mustStart(t *testing.T) *process {
	t.Helper()

	return mustServe(t, t.TempDir(), `{"storage": {"rootDirectory": "data"}, "http": {"port": 0}}`)
}

// mustServe starts zot serve in a directory, and waits until it listens.
func mustServe(t *testing.T, dir, content string) *process {
	t.Helper()

	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}

	p := &process{cmd: command(t, "serve", "config.json")}
	p.cmd.Dir, p.cmd.Stderr = dir, &p.err

	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}

	p.log = bufio.NewScanner(out)

	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = p.cmd.Process.Kill() }) // it has ended if the test went well

	p.url = "http://" + p.mustLog(t, "listening")

	return p
}

func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()

	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asZot+"=1")

	return cmd
}

// mustLog reads the log up to a line whose message begins so, and returns the address
// in it.
func (p *process) mustLog(t *testing.T, message string) string {
	t.Helper()

	for p.log.Scan() {
		var line struct{ Message, Address string }
		if err := json.Unmarshal(p.log.Bytes(), &line); err != nil {
			t.Fatal(err)
		}

		if strings.HasPrefix(line.Message, message) {
			return line.Address
		}
	}

	t.Fatalf("the log ended before %q; standard error: %s", message, p.err.String())

	return ""
}

func (p *process) mustSignal(t *testing.T, signal os.Signal) {
	t.Helper()

	if err := p.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// wait reads the log to its end, and returns the exit status.
func (p *process) wait() int {
	for p.log.Scan() {
	}

	_ = p.cmd.Wait() // the status says it

	return p.cmd.ProcessState.ExitCode()
}

// mustUpload begins a request that ends with the process, and returns when the
// server reads its body. end is called when the process has ended.
func (p *process) mustUpload(t *testing.T) (end func()) {
	t.Helper()

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, ExpectContinueTimeout: time.Minute}}

	location := mustLocation(t, client, p.url+"/v2/a/blobs/uploads/")
	reader, writer := io.Pipe()

	req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, location, reader)
	if err != nil {
		t.Fatal(err)
	}

	// Not a byte is sent before zot asks for it, that is, has begun with the request.
	req.Header.Set("Expect", "100-continue")

	done := make(chan struct{})

	go func() {
		defer close(done)

		if resp, err := client.Do(req); err == nil {
			t.Errorf("answered %s without the end of its body, and close: %v", resp.Status, resp.Body.Close())
		}
	}()

	if _, err := writer.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}

	return func() {
		if err := writer.Close(); err != nil { // or the client would wait for the rest
			t.Error(err)
		}

		<-done
	}
}

// mustLocation starts an upload, and returns where it is.
func mustLocation(t *testing.T, client *http.Client, url string) string {
	t.Helper()

	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, nil)
	if err != nil {
		t.Fatal(err)
	}

	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}

	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}

	location, err := resp.Location()
	if err != nil {
		t.Fatal(err)
	}

	return location.String()
}

func TestSignals(t *testing.T) {
	for _, signal := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		Convey("The first "+signal.String()+" stops it, and all is well", t, func() {
			zot := mustStart(t)
			zot.mustSignal(t, signal)

			So(zot.wait(), ShouldEqual, 0)
			So(zot.err.String(), ShouldBeEmpty)
		})
	}

	Convey("The second signal stops it at once, whatever is under way", t, func() {
		zot := mustStart(t)
		endUpload := zot.mustUpload(t)

		zot.mustSignal(t, syscall.SIGTERM)
		zot.mustLog(t, "stopping")
		zot.mustSignal(t, syscall.SIGTERM)

		So(zot.wait(), ShouldEqual, 1)
		So(zot.err.String(), ShouldEqual, "zot: stopped at once by a second signal\n")
		endUpload()
	})
}

func TestFailure(t *testing.T) {
	Convey("A failure is a line on standard error, and status 1", t, func() {
		out, err := command(t, "verify", "none.json").CombinedOutput()

		var exit *exec.ExitError

		So(err, ShouldHaveSameTypeAs, exit)
		So(string(out), ShouldEqual,
			"zot: read the configuration: open none.json: no such file or directory\n")
	})

	Convey("What worked has status 0", t, func() {
		out, err := command(t, "version").Output()

		So(err, ShouldBeNil)
		So(string(out), ShouldStartWith, "zot ")
	})
}
