// Package audit keeps the file that says who has changed what: a line of JSON for each change,
// and for each attempt that was refused. docs/operations.md has its format.
package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"zotregistry.io/zot/internal/printable"
)

// Entry is one change, or an attempt. Fields that are empty are left out, but for who, from
// where, what, and the outcome.
type Entry struct {
	Time       time.Time `json:"time"`
	Request    string    `json:"request"` // its ID, as in the log
	User       string    `json:"user"`    // "" = nobody was logged in
	Remote     string    `json:"remote"`  // address and port of the other end of the connection
	Method     string    `json:"method"`
	Path       string    `json:"path"` // decoded, without the query
	Repository string    `json:"repository,omitempty"`
	Reference  string    `json:"reference,omitempty"` // of the URL: a tag, a digest or an upload
	Tags       []string  `json:"tags,omitempty"`      // beside the reference
	From       string    `json:"from,omitempty"`      // the repository that a blob is mounted from
	Digest     string    `json:"digest,omitempty"`    // of what was pushed
	Status     int       `json:"status"`
	Code       string    `json:"code,omitempty"`  // of the error
	Error      string    `json:"error,omitempty"` // of a command: what it was told
}

// Log is an audit log. Its methods may be called concurrently.
type Log struct {
	path     string
	log      zerolog.Logger
	failures atomic.Int64

	mu   sync.Mutex // guards what follows, and the order of lines
	file *os.File
	torn bool // the last write may have left a part of a line
}

// mode: who runs zot.
const mode = 0o600

// Open opens the file at path, which is made if it is not there and appended to if it is. That
// a line cannot be written goes to log. The caller calls Close.
func Open(path string, log zerolog.Logger) (*Log, error) {
	file, err := open(path)
	if err != nil {
		return nil, err
	}

	return &Log{path: path, log: log, file: file}, nil
}

func open(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, mode)
	if err != nil {
		return nil, fmt.Errorf("open audit log: %w", err)
	}

	return file, nil
}

// Write appends a line. It is with the kernel when Write returns: a kill of zot does not lose
// it, a power cut may. If that fails, the log says so and Failures counts it.
func (l *Log) Write(entry Entry) {
	line, err := json.Marshal(entry)
	if err == nil {
		err = l.append(append(printable.JSON(line), '\n'))
	}

	if err != nil {
		l.failures.Add(1)
		l.log.Error().Err(err).Str("request", entry.Request).Msg("could not write the audit log")
	}
}

// append writes a line with one system call, so that no reader sees half of it. What a failed
// write has left is ended first.
func (l *Log) append(line []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()

	if l.torn {
		line = append([]byte{'\n'}, line...)
	}

	n, err := l.file.Write(line)
	l.torn = err != nil && (l.torn || n > 0)

	return err
}

// Failures is how many lines could not be written.
func (l *Log) Failures() int64 { return l.failures.Load() }

// Reopen goes on in a new file at the path, after the old one was renamed. If that cannot be
// opened, lines go to the old one.
func (l *Log) Reopen() error {
	file, err := open(l.path)
	if err != nil {
		return err
	}

	l.mu.Lock()
	old := l.file
	l.file, l.torn = file, false
	l.mu.Unlock()

	if err := old.Close(); err != nil {
		return fmt.Errorf("close the old audit log: %w", err)
	}

	return nil
}

// Close closes the file. Lines that come later fail.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()

	if err := l.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("close audit log: %w", err)
	}

	return nil
}
