//go:build conformance

// Package conformance runs the conformance program of the OCI distribution
// specification against the binary.
package conformance

import (
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"zotregistry.io/zot/internal/daemon"
	"zotregistry.io/zot/internal/servers"
)

// programEnv names the conformance program.
const programEnv = "CONFORMANCE_PROGRAM"

// feature is what the program can be told not to try: its switch, its line in the
// summary, and the name of its tests, which the report then has as skipped.
type feature struct{ env, line, test string }

var (
	// sparse manifests are refused unless storage.sparse is true.
	sparse = feature{"OCI_DATA_SPARSE", "Sparse Manifests", "sparse"}
	// anonymousMount needs to know who holds a digest, as a bucket does: on a disk nobody
	// knows without dedupe.
	anonymousMount = feature{"OCI_API_BLOBS_MOUNT_ANONYMOUS", "Blob anonymous mount", "blob-mount-anonymous"}
)

// switches are all that the program can be told to try. Most are on by default in
// version "dev"; they are repeated so that a new default never drops one.
var switches = []string{
	"OCI_VERSION=dev",
	"OCI_API_PULL=true", "OCI_API_PUSH=true", "OCI_API_REFERRER=true",
	"OCI_API_BLOBS_ATOMIC=true", "OCI_API_BLOBS_DELETE=true", "OCI_API_BLOBS_DIGEST_HEADER=true",
	"OCI_API_BLOBS_MOUNT_ANONYMOUS=true", "OCI_API_BLOBS_UPLOAD_CANCEL=true",
	"OCI_API_MANIFESTS_ATOMIC=true", "OCI_API_MANIFESTS_DELETE=true",
	"OCI_API_MANIFESTS_DIGEST_HEADER=true", "OCI_API_MANIFESTS_TAG_PARAM=true",
	"OCI_API_TAGS_ATOMIC=true", "OCI_API_TAGS_DELETE=true", "OCI_API_TAGS_LIST=true",
	"OCI_DATA_IMAGE=true", "OCI_DATA_INDEX=true", "OCI_DATA_INDEX_LIST=true",
	"OCI_DATA_ARTIFACT=true", "OCI_DATA_SUBJECT=true", "OCI_DATA_SUBJECT_MISSING=true",
	"OCI_DATA_ARTIFACT_LIST=true", "OCI_DATA_SUBJECT_LIST=true", "OCI_DATA_DATA_FIELD=true",
	"OCI_DATA_NONDISTRIBUTABLE=true", "OCI_DATA_CUSTOM_FIELDS=true", "OCI_DATA_NO_LAYERS=true",
	"OCI_DATA_EMPTY_BLOB=true", "OCI_DATA_SHA512=true", "OCI_DATA_SPARSE=true",
}

func TestDefaults(t *testing.T) {
	expectAllPassed(t, &daemon.Zot{}, sparse)
}

func TestSparse(t *testing.T) {
	expectAllPassed(t, &daemon.Zot{Storage: map[string]any{"sparse": true}})
}

func TestWithoutDedupe(t *testing.T) {
	expectAllPassed(t, &daemon.Zot{Storage: map[string]any{"dedupe": false}}, sparse, anonymousMount)
}

func TestBucket(t *testing.T) {
	expectAllPassed(t, &daemon.Zot{Storage: map[string]any{
		"sparse": true, "storageDriver": newBucket(t),
	}})
}

func TestBucketWithoutDedupe(t *testing.T) {
	expectAllPassed(t, &daemon.Zot{Storage: map[string]any{
		"dedupe": false, "storageDriver": newBucket(t),
	}}, sparse)
}

func newBucket(t *testing.T) map[string]any {
	t.Helper()

	server := servers.StartS3(t)
	if err := server.Bucket(t.Context(), "images"); err != nil {
		t.Fatal(err)
	}

	return server.StorageDriver("images")
}

// testCase is what junit.xml says of one test.
type testCase struct {
	Name   string `xml:"name,attr"`
	Status string `xml:"status,attr"`
	Errors string `xml:"system-out"`
}

func (c testCase) isOf(f feature) bool { return strings.Contains(c.Name, f.test) }

// summaryLine is a line such as "Tag list......: Pass" in the program's output.
var summaryLine = regexp.MustCompile(`(?m)^ +(\S[^.\n]*)\.{2,}: +(\S+)$`)

// expectAllPassed reads the reports and not the exit status alone: the program exits
// with 0 when it skipped tests, and even when it could not start.
func expectAllPassed(t *testing.T, zot *daemon.Zot, off ...feature) {
	t.Helper()

	cases, out := run(t, zot, off)
	for _, c := range cases {
		if c.Status != "passed" && !(c.Status == "skipped" && slices.ContainsFunc(off, c.isOf)) {
			t.Errorf("%s: %s\n%s", c.Status, c.Name, c.Errors)
		}
	}

	summary := summaryLine.FindAllStringSubmatch(out, -1)
	// 58 at the pinned version.
	if len(summary) < 50 {
		t.Errorf("the summary has %d lines only", len(summary))
	}

	for _, line := range summary {
		if !welcome(line[1], line[2], off) {
			t.Errorf("summary: %s: %s", line[1], line[2])
		}
	}

	t.Logf("%d tests, %d lines of summary", len(cases), len(summary))
}

// welcome judges a line of the summary: first come the counts, then the verdict for
// each part of the specification and for each kind of data.
func welcome(name, value string, off []feature) bool {
	switch name {
	case "Pass", "Total":
		return value != "0"
	case "FAIL", "Error":
		return value == "0"
	case "Skip", "Disabled":
		return true // each test was judged already
	}

	for _, f := range off {
		if name == f.line {
			return value == "Disabled"
		}
	}

	return value == "Pass"
}

func run(t *testing.T, zot *daemon.Zot, off []feature) ([]testCase, string) {
	t.Helper()

	d := zot.Start(t)
	results := t.TempDir()

	cmd := exec.CommandContext(t.Context(), program(t))
	cmd.Env = append(os.Environ(), switches...)
	cmd.Env = append(cmd.Env,
		"OCI_REGISTRY="+d.Addr, "OCI_TLS=disabled", "OCI_RESULTS_DIR="+results)

	for _, f := range off {
		cmd.Env = append(cmd.Env, f.env+"=false") // of two values the last one counts
	}

	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("the program failed: %v", err)
	}

	keep(t, results, out)

	return report(t, filepath.Join(results, "junit.xml")), string(out)
}

func program(t *testing.T) string {
	t.Helper()

	path := os.Getenv(programEnv)
	if path == "" {
		t.Fatalf("%s is not set: run make conformance", programEnv)
	}

	return path
}

func report(t *testing.T, path string) []testCase {
	t.Helper()

	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}

	var doc struct {
		Suites []struct {
			Cases []testCase `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}

	var all []testCase
	for _, s := range doc.Suites {
		all = append(all, s.Cases...)
	}

	// 810 at the pinned version; a much shorter report means that the run broke off.
	if len(all) < 500 {
		t.Fatalf("the report holds %d tests only", len(all))
	}

	return all
}

// keep copies the reports to where CONFORMANCE_RESULTS says, for a person to read.
func keep(t *testing.T, results string, out []byte) {
	t.Helper()

	into := os.Getenv("CONFORMANCE_RESULTS")
	if into == "" {
		return
	}

	into = filepath.Join(into, t.Name())
	if err := os.RemoveAll(into); err != nil {
		t.Fatal(err)
	}

	if err := os.CopyFS(into, os.DirFS(results)); err != nil {
		t.Fatal(err)
	}

	if err := os.WriteFile(filepath.Join(into, "output.txt"), out, 0o600); err != nil {
		t.Fatal(err)
	}
}
