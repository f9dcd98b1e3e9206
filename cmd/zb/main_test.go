package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/smartystreets/goconvey/convey"
	"go.uber.org/goleak"

	"zotregistry.io/zot/internal/zb"
	"zotregistry.io/zot/pkg/cli"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mustServe serves zot in this process until the test is over, and returns its URL.
func mustServe(t *testing.T) string {
	t.Helper()

	dir := t.TempDir()
	path := filepath.Join(dir, "config.json")
	config, err := json.Marshal(map[string]any{
		"storage": map[string]any{"rootDirectory": filepath.Join(dir, "data")},
		"http":    map[string]any{"address": "127.0.0.1", "port": "0"},
	})

	if err := firstOf(err, os.WriteFile(path, config, 0o600)); err != nil {
		t.Fatal(err)
	}

	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	log, lines := io.Pipe()
	served := make(chan error, 1)

	go func() {
		err := cli.Run(ctx, []string{"serve", path}, cli.Streams{Out: lines, Err: lines})
		served <- firstOf(err, lines.Close())
	}()

	t.Cleanup(func() {
		stop()

		if err := <-served; err != nil {
			t.Error(err)
		}
	})

	return mustListen(t, log)
}

// mustListen reads the log up to the address, and then all of it.
func mustListen(t *testing.T, log io.Reader) string {
	t.Helper()

	scanner := bufio.NewScanner(log)
	for scanner.Scan() {
		var line struct{ Message, Address string }
		if err := json.Unmarshal(scanner.Bytes(), &line); err == nil && line.Message == "listening" {
			go func() { _, _ = io.Copy(io.Discard, log) }() // ends with the log

			return "http://" + line.Address
		}
	}

	t.Fatal("it does not listen")

	return ""
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}

	return nil
}

// run runs zb, and returns what it printed.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()

	var out bytes.Buffer

	cmd := command()
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)

	err := cmd.ExecuteContext(t.Context())

	return out.String(), err
}

// mustReport runs zb on a few operations of each test, and returns its report.
func mustReport(t *testing.T, args ...string) *zb.Report {
	t.Helper()

	out, err := run(t, append([]string{"-o", "json", "-c", "2", "--touch=false"}, args...)...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	report, err := zb.ReadReport(strings.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}

	return report
}

// small are the tests that push nothing large.
const small = "small|manifest|tags|referrer|head|mount|dedupe|1mb|cold|catalog"

func TestZot(t *testing.T) {
	url := mustServe(t)

	Convey("Against zot", t, func() {
		Convey("no test fails, and all but the restart are measured", func() {
			report := mustReport(t, "-n", "6", "--tags", "20", "-t", small, url)

			for _, res := range report.Results {
				if res.Name == "cold-start" {
					So(res.Skipped, ShouldContainSubstring, "--restart")

					continue
				}

				So(res.Skipped, ShouldBeEmpty)
				So(res.Errors, ShouldBeEmpty)
				So(res.Operations, ShouldEqual, 6)
				So(res.Requests, ShouldBeGreaterThanOrEqualTo, 6)
				So(res.Latency.Count, ShouldEqual, 6)
			}

			So(len(report.Results), ShouldBeGreaterThan, 12)
			So(report.Notes, ShouldBeEmpty)
		})

		Convey("a server that answers at once has restarted at once", func() {
			report := mustReport(t, "-n", "2", "-t", "cold-start", "--restart", "true", url)
			So(report.Results[0].Operations, ShouldEqual, 2)
			So(report.Results[0].Concurrency, ShouldEqual, 1)
		})

		Convey("what it pushed is deleted, unless it is to stay", func() {
			mustReport(t, "-n", "3", "-t", "push-small", "-r", "gone", url)
			mustReport(t, "-n", "3", "-t", "push-small", "-r", "kept/here", "--skip-cleanup", url)

			left := tagsBelow(t, url)
			So(left["gone"], ShouldEqual, 0)
			So(left["kept"], ShouldEqual, 3)
		})

		Convey("an open loop keeps to its rate", func() {
			report := mustReport(t, "-n", "10", "--rate", "1000", "-t", "manifest-get", url)
			So(report.Results[0].Service.Count, ShouldEqual, 10)
			So(report.Results[0].Rate, ShouldEqual, 1000)
		})

		Convey("bytes may be kept in a directory, and connections may come from several addresses", func() {
			dir := t.TempDir()
			report := mustReport(t, "-n", "4", "-t", "pull-1mb", "-d", dir, "-i", "127.0.0.0/30", url)
			So(report.Results[0].Operations, ShouldEqual, 4)
			So(report.Options.SourceIPs, ShouldHaveLength, 4)

			left, err := os.ReadDir(dir)
			So(err, ShouldBeNil)
			So(left, ShouldBeEmpty)
		})

		Convey("reports are written to files, and compared", func() {
			dir := t.TempDir()
			a, page := filepath.Join(dir, "a.json"), filepath.Join(dir, "a.html")

			out, err := run(t, "-c", "2", "-n", "5", "-t", "blob-head", "--touch=false", "--json", a, "--html", page, "-u", url)
			So(err, ShouldBeNil)
			So(out, ShouldContainSubstring, "blob-head")

			html, err := os.ReadFile(page)
			So(err, ShouldBeNil)
			So(string(html), ShouldContainSubstring, "<svg")

			out, err = run(t, "compare", a, a, "--fail", "1")
			So(err, ShouldBeNil)
			So(out, ShouldContainSubstring, "1.00")
		})
	})
}

// tagsBelow counts the tags of the repositories below each first component.
func tagsBelow(t *testing.T, url string) map[string]int {
	t.Helper()

	var catalog struct{ Repositories []string }

	mustGet(t, url+"/v2/_catalog", &catalog)

	count := map[string]int{}

	for _, repo := range catalog.Repositories {
		var list struct{ Tags []string }

		mustGet(t, url+"/v2/"+repo+"/tags/list", &list)

		first, _, _ := strings.Cut(repo, "/")
		count[first] += len(list.Tags)
	}

	return count
}

func mustGet(t *testing.T, url string, to any) {
	t.Helper()

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}

	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()

	if err := json.NewDecoder(resp.Body).Decode(to); err != nil {
		t.Fatal(err)
	}
}

func TestRefusals(t *testing.T) {
	Convey("zb says what is wrong with the command line", t, func() {
		for _, c := range []struct{ want, args string }{
			{"which registry?", ""},
			{"want one such as http://", "localhost:5000"},
			{"named twice", "-u http://a http://b"},
			{"no test matches", "-t none http://127.0.0.1:1"},
			{"output format", "-o xml http://127.0.0.1:1"},
			{"is there a registry", "http://127.0.0.1:1"},
			{"concurrency must be 1", "-c 0 http://127.0.0.1:1"},
			{"none of the others can be", "-n 1 --duration 1s http://127.0.0.1:1"},
			{"unable to parse IP", "-s x http://127.0.0.1:1"},
		} {
			_, err := run(t, strings.Fields(c.args)...)
			So(err, ShouldNotBeNil)
			So(err.Error(), ShouldContainSubstring, c.want)
		}
	})

	Convey("zb -l lists the tests", t, func() {
		out, err := run(t, "-l")
		So(err, ShouldBeNil)

		for _, test := range zb.Tests() {
			So(out, ShouldContainSubstring, test.Name+"  ")
		}
	})
}
