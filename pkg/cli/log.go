package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"github.com/rs/zerolog"
	"golang.org/x/term"

	"zotregistry.io/zot/internal/printable"
	"zotregistry.io/zot/pkg/api/config"
)

// openedLog is a log, whose level can be changed and whose file be opened anew. It is the
// zerolog.Sampler of its Logger, and of all that are made of it.
type openedLog struct {
	zerolog.Logger

	output string // the file; "" = standard output
	level  atomic.Int32
	lines  io.WriteCloser
}

// openLog opens the log that cfg asks for: lines of JSON, or readable text where
// standard output is a terminal. Close is called after the last line.
func openLog(cfg config.Log, stdout io.Writer) (*openedLog, error) {
	l := &openedLog{output: cfg.Output}
	if err := l.SetLevel(cfg.Level); err != nil {
		return nil, err
	}

	var err error
	if l.lines, err = openLines(cfg.Output, stdout); err != nil {
		return nil, err
	}

	l.Logger = zerolog.New(printable.Writer{Writer: l.lines}).Sample(l).Hook(&logClock{})

	return l, nil
}

// Sample implements zerolog.Sampler: it says whether lines of a level are written.
func (l *openedLog) Sample(level zerolog.Level) bool { return level >= zerolog.Level(l.level.Load()) }

// SetLevel changes which lines are written.
func (l *openedLog) SetLevel(text string) error {
	level, err := zerolog.ParseLevel(strings.ToLower(text))
	if err != nil {
		return fmt.Errorf("log.level: %w", err)
	}

	l.level.Store(int32(level))

	return nil
}

// Reopen goes on in a new file, after the old one was renamed. If that cannot be opened, lines
// go to the old one.
func (l *openedLog) Reopen() error {
	lines, ok := l.lines.(*gathered)
	if !ok || l.output == "" {
		return nil
	}

	f, err := openFile(l.output)
	if err != nil {
		return err
	}

	return lines.change(f)
}

// Close writes what waits, and closes the file.
func (l *openedLog) Close() error { return l.lines.Close() }

func openLines(output string, stdout io.Writer) (io.WriteCloser, error) {
	if output == "" {
		return onStdout(stdout), nil
	}

	f, err := openFile(output)
	if err != nil {
		return nil, err
	}

	return newGathered(f), nil
}

func openFile(output string) (*os.File, error) {
	const mode = 0o640 // who runs zot, and who collects logs

	f, err := os.OpenFile(output, os.O_APPEND|os.O_CREATE|os.O_WRONLY, mode)
	if err != nil {
		return nil, fmt.Errorf("log.output: %w", err)
	}

	return f, nil
}

// onStdout returns a writer of text for people if stdout is a terminal.
func onStdout(stdout io.Writer) io.WriteCloser {
	if f, ok := stdout.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return staysOpen{zerolog.ConsoleWriter{Out: stdout, TimeFormat: "15:04:05.000"}}
	}

	return newGathered(staysOpen{stdout})
}

// staysOpen is a writer that another one closes.
type staysOpen struct{ io.Writer }

func (staysOpen) Close() error { return nil }
