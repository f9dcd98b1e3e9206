// Command strict reads the output of "go test -json" on standard input, prints what
// a person wants to see of it, and exits 1 if a test failed, was skipped, or if none
// ran at all: a test that is skipped proves nothing, and must not look as if it did.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

func main() {
	t := newTally(os.Stdout)
	if err := t.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "strict:", err)
		os.Exit(1)
	}

	if !t.report() {
		os.Exit(1)
	}
}

// event is one line of "go test -json"; see "go doc test2json".
type event struct {
	Action  string
	Package string
	Test    string // empty: the event is the package's
	Output  string
	Elapsed float64 // seconds
}

// tally counts tests and keeps each one's output until it is known to be good.
type tally struct {
	out     io.Writer
	started time.Time
	output  map[string][]string // by package and test
	tail    map[string][]string // by package: its last lines, whoever wrote them
	passed  int
	failed  []string
	skipped []string
}

func newTally(out io.Writer) *tally {
	return &tally{out: out, started: time.Now(), output: map[string][]string{}, tail: map[string][]string{}}
}

func (t *tally) read(r io.Reader) error {
	dec := json.NewDecoder(r)

	for {
		var e event

		err := dec.Decode(&e)
		if errors.Is(err, io.EOF) {
			return nil
		}

		if err != nil {
			return fmt.Errorf("read the output of go test -json: %w", err)
		}

		t.take(e)
	}
}

func (t *tally) take(e event) {
	key := e.Package + " " + e.Test

	switch e.Action {
	case "build-output":
		fmt.Fprint(t.out, e.Output)
	case "build-fail":
		t.failed = append(t.failed, "build of "+e.Package)
	case "output":
		t.output[key] = append(t.output[key], e.Output)
		t.tail[e.Package] = lastLines(append(t.tail[e.Package], e.Output))
	case "pass":
		t.pass(e)
		delete(t.output, key)
	case "fail":
		t.fail(e, key)
	case "skip":
		t.skip(e, key)
	}
}

func (t *tally) pass(e event) {
	if e.Test != "" {
		t.passed++

		return
	}

	fmt.Fprintf(t.out, "ok    %-60s %6.1fs\n", e.Package, e.Elapsed)
}

// fail shows what a failed test wrote. Where a package fails and no test of it did, the
// reason (a leaked goroutine, os.Exit) stands in the lines of a test that passed.
func (t *tally) fail(e event, key string) {
	own := func(name string) bool { return strings.HasPrefix(name, e.Package+" ") }

	if e.Test == "" && !slices.ContainsFunc(t.failed, own) {
		t.output[key] = t.tail[e.Package]
	}

	t.failed = append(t.failed, key)
	t.show(key)
}

func lastLines(lines []string) []string { return lines[max(0, len(lines)-80):] }

// skip counts a skipped test. A package is "skipped" if it has no tests, which is
// no fault of theirs.
func (t *tally) skip(e event, key string) {
	if e.Test != "" {
		t.skipped = append(t.skipped, key)
		t.show(key)
	}
}

func (t *tally) show(key string) {
	for _, line := range t.output[key] {
		fmt.Fprint(t.out, line)
	}

	delete(t.output, key)
}

// report prints the sums and says whether all is well.
func (t *tally) report() bool {
	for _, name := range t.failed {
		fmt.Fprintln(t.out, "FAILED ", name)
	}

	for _, name := range t.skipped {
		fmt.Fprintln(t.out, "SKIPPED", name)
	}

	fmt.Fprintf(t.out, "%d passed, %d failed, %d skipped in %s\n",
		t.passed, len(t.failed), len(t.skipped), time.Since(t.started).Round(time.Second))

	if t.passed == 0 {
		fmt.Fprintln(t.out, "no test ran")
	}

	return t.passed > 0 && len(t.failed) == 0 && len(t.skipped) == 0
}
