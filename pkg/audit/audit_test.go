package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func mustOpen(t *testing.T, path string, log *bytes.Buffer) *Log {
	t.Helper()

	l, err := Open(path, zerolog.New(log))
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})

	return l
}

// lines reads the file, of which each line has to be an entry.
func lines(t *testing.T, path string) []Entry {
	t.Helper()

	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}

	var entries []Entry

	for line := range bytes.Lines(data) {
		var entry Entry
		if err := json.Unmarshal(line, &entry); err != nil {
			t.Fatalf("%q: %v", line, err)
		}

		entries = append(entries, entry)
	}

	return entries
}

func TestLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	log := &bytes.Buffer{}
	l := mustOpen(t, path, log)

	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			// What a client chooses cannot make a line of its own.
			l.Write(Entry{Time: time.Unix(0, 0), User: "eve\n{\"user\":\"ann\"}", Path: "/v2/\u2028\x00\"", Status: i})
		})
	}

	all.Wait()

	again := mustOpen(t, path, log) // the file of an earlier process is appended to
	again.Write(Entry{Status: 50})

	seen := map[int]bool{}
	for _, entry := range lines(t, path) {
		seen[entry.Status] = true

		if entry.Status < 50 && entry.User != "eve\n{\"user\":\"ann\"}" {
			t.Errorf("got user %q", entry.User)
		}
	}

	if len(seen) != 51 || l.Failures() != 0 || log.Len() > 0 {
		t.Errorf("%d lines, %d failures, log %q", len(seen), l.Failures(), log)
	}

	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	path, old := filepath.Join(dir, "audit.log"), filepath.Join(dir, "audit.log.1")
	l := mustOpen(t, path, &bytes.Buffer{})
	l.Write(Entry{Status: 1})

	if err := os.Rename(path, old); err != nil {
		t.Fatal(err)
	}

	l.Write(Entry{Status: 2})

	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}

	l.Write(Entry{Status: 3})

	if got := fmt.Sprint(len(lines(t, old)), len(lines(t, path))); got != "2 1" {
		t.Errorf("lines in the old and in the new file: %s", got)
	}

	// Where no new one can be made, the old one is gone on with.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}

	if err := l.Reopen(); err == nil {
		t.Error("a directory that is not there was reopened")
	}

	if l.Write(Entry{Status: 4}); l.Failures() != 0 {
		t.Error("the old file was given up")
	}
}

func TestFailures(t *testing.T) {
	log := &bytes.Buffer{}
	l := mustOpen(t, filepath.Join(t.TempDir(), "audit.log"), log)

	if err := l.Close(); err != nil {
		t.Fatal(err)
	}

	l.Write(Entry{Request: "r-1"})

	if l.Failures() != 1 || !strings.Contains(log.String(), `"request":"r-1"`) || !strings.Contains(log.String(), `"level":"error"`) {
		t.Errorf("%d failures, log %s", l.Failures(), log)
	}

	if _, err := Open(filepath.Join(t.TempDir(), "none", "audit.log"), zerolog.Nop()); err == nil {
		t.Error("it was opened where there is no directory")
	}
}

// TestTornLine: what a failed write has left spoils no other line.
func TestTornLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := mustOpen(t, path, &bytes.Buffer{})

	if err := os.WriteFile(path, []byte(`{"time":`), mode); err != nil {
		t.Fatal(err)
	}

	l.torn = true
	l.Write(Entry{Status: 1})
	l.Write(Entry{Status: 2})

	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}

	parts := strings.Split(string(data), "\n")
	if len(parts) != 4 || parts[0] != `{"time":` || !strings.Contains(parts[1], `"status":1`) {
		t.Errorf("got %q", parts)
	}
}
