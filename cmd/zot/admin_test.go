package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
	. "github.com/smartystreets/goconvey/convey"
)

// mustRun runs a command beside a zot that serves, with its configuration, and returns what
// it printed.
func (p *process) mustRun(t *testing.T, args ...string) string {
	t.Helper()

	out, status := p.run(t, args...)
	if status != 0 {
		t.Fatalf("zot %s: status %d: %s", strings.Join(args, " "), status, out)
	}

	return out
}

// run returns what a command printed, and its exit status.
func (p *process) run(t *testing.T, args ...string) (out string, status int) {
	t.Helper()

	cmd := command(t, append(args, "--config", "config.json")...)
	cmd.Dir = p.cmd.Dir

	var printed, failure strings.Builder
	cmd.Stdout, cmd.Stderr = &printed, &failure

	err := cmd.Run()
	if err == nil { // what it warns of depends on the machine
		return printed.String(), 0
	}

	if _, exited := err.(*exec.ExitError); !exited { //nolint:errorlint // it is not wrapped
		t.Fatal(err)
	}

	return printed.String() + failure.String(), cmd.ProcessState.ExitCode()
}

// send sends a request, and returns status and body.
func (p *process) send(t *testing.T, method, path, mediaType, body string) (int, string) {
	t.Helper()

	req, err := http.NewRequestWithContext(t.Context(), method, p.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}

	req.Header.Set("Content-Type", mediaType)

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()

	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}

	return resp.StatusCode, string(answer)
}

// mustPush pushes an image with one blob, and returns the digests of the manifest and of the
// blob.
func (p *process) mustPush(t *testing.T, repo, tag, content string) (image, blob digest.Digest) {
	t.Helper()

	blob = digest.FromString(content)

	status, answer := p.send(t, http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+blob.String(), "application/octet-stream", content)
	if status != http.StatusCreated {
		t.Fatalf("push the blob: %d %s", status, answer)
	}

	const manifest = "application/vnd.oci.image.manifest.v1+json"

	descriptor := fmt.Sprintf(`{"mediaType":"text/plain","digest":"%s","size":%d}`, blob, len(content))
	body := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"%s","artifactType":"a/b","config":%s,"layers":[%[2]s]}`, manifest, descriptor)

	if status, answer = p.send(t, http.MethodPut, "/v2/"+repo+"/manifests/"+tag, manifest, body); status != http.StatusCreated {
		t.Fatalf("push the manifest: %d %s", status, answer)
	}

	return digest.FromString(body), blob
}

func (p *process) has(t *testing.T, repo, reference string) bool {
	t.Helper()

	status, _ := p.send(t, http.MethodGet, "/v2/"+repo+"/manifests/"+reference, "", "")

	return status == http.StatusOK
}

// isOnDisk says whether a file below the root has that content.
func (p *process) isOnDisk(t *testing.T, content string) bool {
	t.Helper()

	found := false

	err := filepath.WalkDir(filepath.Join(p.cmd.Dir, "data"), func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}

		data, err := os.ReadFile(path)
		found = found || strings.Contains(string(data), content)

		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	return found
}

// steps are what an administrator does, while a zot serves.
func (p *process) steps(t *testing.T) {
	t.Helper()

	Convey("says and takes back what has happened to a tag", func() {
		one, _ := p.mustPush(t, "team/app", "v1", "one")
		two, _ := p.mustPush(t, "team/app", "v1", "two")

		So(p.mustRun(t, "tag", "undo", "team/app:v1"), ShouldEqual, "team/app:v1 points to "+one.String()+" again\n")

		lines := strings.Split(p.mustRun(t, "tag", "history", "team/app:v1"), "\n")
		So(lines[0], ShouldContainSubstring, one.String()+"  zot admin")
		So(lines[1], ShouldContainSubstring, two.String()+"  anonymous")

		var events []map[string]any

		So(json.Unmarshal([]byte(p.mustRun(t, "tag", "history", "team/app:v1", "--json", "-n", "1")), &events), ShouldBeNil)
		So(events, ShouldHaveLength, 1)
		So(events[0]["before"], ShouldEqual, two.String())
		So(p.mustRun(t, "why", "team/app@"+one.String()), ShouldContainSubstring, "v1")
	})

	Convey("brings back a repository that was deleted", func() {
		image, _ := p.mustPush(t, "mistake", "v1", "precious")

		So(p.mustRun(t, "repo", "delete", "mistake"), ShouldContainSubstring, "zot undelete mistake")
		So(p.has(t, "mistake", "v1"), ShouldBeFalse)
		So(p.mustRun(t, "undelete", "mistake"), ShouldEqual,
			"mistake@"+image.String()+" is back\nmistake:v1 is back\n")
		So(p.has(t, "mistake", "v1"), ShouldBeTrue)
	})

	Convey("leaves nothing on the disk of what it purges", func() {
		image, blob := p.mustPush(t, "leak", "v1", "-----BEGIN PRIVATE KEY-----")
		p.mustPush(t, "leak/copy", "v1", "-----BEGIN PRIVATE KEY-----")

		out, status := p.run(t, "purge", "leak@"+blob.String(), "--everywhere")
		So(status, ShouldEqual, 1)
		So(out, ShouldContainSubstring, image.String())
		So(out, ShouldContainSubstring, "--force")
		So(p.has(t, "leak", "v1"), ShouldBeTrue)

		out = p.mustRun(t, "purge", "leak@"+blob.String(), "--everywhere", "--force")
		So(out, ShouldContainSubstring, "the bytes of "+blob.String()+" are gone")
		So(p.has(t, "leak", "v1"), ShouldBeFalse)
		So(p.has(t, "leak/copy", "v1"), ShouldBeFalse)
		So(p.isOnDisk(t, "PRIVATE KEY"), ShouldBeFalse)
	})

	Convey("fails with a line that says why", func() {
		out, status := p.run(t, "tag", "undo", "none:v1")
		So(status, ShouldEqual, 1)
		So(out, ShouldEqual, "zot: undo none:v1: repository not known\n")

		out, status = p.run(t, "gc")
		So(status, ShouldEqual, 1)
		So(out, ShouldStartWith, "zot: collect: too early")
	})
}

func TestAdmin(t *testing.T) {
	Convey("Beside a zot that serves, zot", t, func() {
		zot := mustStart(t)
		zot.steps(t)

		Reset(func() {
			zot.mustSignal(t, syscall.SIGTERM)
			So(zot.wait(), ShouldEqual, 0)
		})
	})

	Convey("Where no zot serves any more, it opens the directory itself", t, func() {
		zot := mustStart(t)
		one, _ := zot.mustPush(t, "a", "v1", "one")
		zot.mustPush(t, "a", "v1", "two")
		zot.mustSignal(t, syscall.SIGKILL)
		zot.wait()

		So(zot.mustRun(t, "tag", "undo", "a:v1"), ShouldEqual, "a:v1 points to "+one.String()+" again\n")
		So(zot.mustRun(t, "tag", "history", "a:v1"), ShouldContainSubstring, "zot admin")

		Convey("if there is one", func() {
			So(os.RemoveAll(filepath.Join(zot.cmd.Dir, "data")), ShouldBeNil)

			out, status := zot.run(t, "tag", "history", "a:v1")
			So(status, ShouldEqual, 1)
			So(out, ShouldContainSubstring, "nothing is kept there")
		})
	})
}
