package zb

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
)

// Test is one measurement.
type Test struct {
	Name  string
	About string // one line

	requests int   // operations that it proposes
	workers  int   // operations at once, at most; 0 = as many as the options say
	bytes    int64 // that an operation writes to the registry, about
	largest  int   // bytes of its largest blob; 0 = those of large will do
	named    bool  // it runs only where it is named: it needs much room
	// prepare makes ready what the operations need, and is not measured.
	//
	// Errors: errUnsupported if the registry, or the options, do not have what it takes.
	prepare func(ctx context.Context, s *stage) (operation, error)
}

// operation makes the n-th operation of a test ready and returns what is timed. Operations
// of different workers run at the same time.
type operation func(worker, n int) (timed, error)

// timed is what is timed. It returns how many bytes of blobs and manifests it moved.
type timed func(ctx context.Context) (int64, error)

// errUnsupported is wrapped with what is missing: the test is left out, which is no failure.
var errUnsupported = errors.New("not measured")

func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errUnsupported, fmt.Sprintf(format, args...))
}

// Tests lists all tests, in the order in which they run.
func Tests() []Test {
	return slices.Concat(listTests(), smallTests(), manifestTests(), blobTests(), pushTests(), pullTests(), mixedTests(), hugeTests(), coldTests())
}

// Select returns the tests that are named: exactly, or else by a regular expression,
// whose case does not matter. Without names it returns all that need not be named.
func Select(names []string) ([]Test, error) {
	all := Tests()
	if len(names) == 0 {
		return slices.DeleteFunc(all, func(t Test) bool { return t.named }), nil
	}

	chosen := map[string]bool{}

	for _, name := range names {
		matches, err := matcher(all, name)
		if err != nil {
			return nil, err
		}

		found := false

		for _, t := range all {
			if matches(t.Name) {
				chosen[t.Name], found = true, true
			}
		}

		if !found {
			return nil, fmt.Errorf("no test matches %q; zb --list-tests has the names", name)
		}
	}

	return slices.DeleteFunc(all, func(t Test) bool { return !chosen[t.Name] }), nil
}

func matcher(all []Test, name string) (func(string) bool, error) {
	if slices.ContainsFunc(all, func(t Test) bool { return t.Name == name }) {
		return func(s string) bool { return s == name }, nil
	}

	expression, err := regexp.Compile("(?i)" + name)
	if err != nil {
		return nil, fmt.Errorf("test %q: %w", name, err)
	}

	return expression.MatchString, nil
}
