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
	"testing"

	"zotregistry.io/zot/internal/daemon"
)

// programEnv names the conformance program.
const programEnv = "CONFORMANCE_PROGRAM"

const (
	withSparse    = "OCI_DATA_SPARSE=true"
	withoutSparse = "OCI_DATA_SPARSE=false"
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
	"OCI_DATA_EMPTY_BLOB=true", "OCI_DATA_SHA512=true",
}

func TestDefaults(t *testing.T) {
	expectAllPassed(t, &daemon.Zot{}, withoutSparse)
}

func TestSparse(t *testing.T) {
	expectAllPassed(t, &daemon.Zot{Storage: map[string]any{"sparse": true}}, withSparse)
}

// testCase is what junit.xml says of one test.
type testCase struct {
	Name   string `xml:"name,attr"`
	Status string `xml:"status,attr"`
	Errors string `xml:"system-out"`
}

// summaryLine is a line such as "Tag list......: Pass" in the program's output.
var summaryLine = regexp.MustCompile(`(?m)^ +(\S[^.\n]*)\.{2,}: +(\S+)$`)

// expectAllPassed reads the reports and not the exit status alone: the program exits
// with 0 when it skipped tests, and even when it could not start.
func expectAllPassed(t *testing.T, zot *daemon.Zot, sparse string) {
	t.Helper()

	cases, out := run(t, zot, sparse)
	for _, c := range cases {
		if c.Status != "passed" {
			t.Errorf("%s: %s\n%s", c.Status, c.Name, c.Errors)
		}
	}

	summary := summaryLine.FindAllStringSubmatch(out, -1)
	// 58 at the pinned version.
	if len(summary) < 50 {
		t.Errorf("the summary has %d lines only", len(summary))
	}

	for _, line := range summary {
		if !welcome(line[1], line[2], sparse) {
			t.Errorf("summary: %s: %s", line[1], line[2])
		}
	}

	t.Logf("%d tests, %d lines of summary", len(cases), len(summary))
}

// welcome judges a line of the summary: first come the counts, then the verdict for
// each part of the specification and for each kind of data.
func welcome(name, value, sparse string) bool {
	switch name {
	case "Pass", "Total":
		return value != "0"
	case "FAIL", "Skip", "Error", "Disabled":
		return value == "0"
	case "Sparse Manifests":
		return value == "Pass" || value == "Disabled" && sparse == withoutSparse
	default:
		return value == "Pass"
	}
}

func run(t *testing.T, zot *daemon.Zot, sparse string) ([]testCase, string) {
	t.Helper()

	d := zot.Start(t)
	results := t.TempDir()

	cmd := exec.CommandContext(t.Context(), program(t))
	cmd.Env = append(os.Environ(), switches...)
	cmd.Env = append(cmd.Env, sparse,
		"OCI_REGISTRY="+d.Addr, "OCI_TLS=disabled", "OCI_RESULTS_DIR="+results)

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
