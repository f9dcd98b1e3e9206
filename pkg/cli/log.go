package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/rs/zerolog"
	"golang.org/x/term"

	"zotregistry.io/zot/pkg/api/config"
)

// openLog opens the log that cfg asks for: lines of JSON, or readable text where
// standard output is a terminal. close is called after the last line.
func openLog(cfg config.Log, stdout io.Writer) (log zerolog.Logger, closeLog func() error, err error) {
	level, err := zerolog.ParseLevel(strings.ToLower(cfg.Level))
	if err != nil {
		return zerolog.Nop(), nil, fmt.Errorf("log.level: %w", err)
	}

	w, err := openLines(cfg.Output, stdout)
	if err != nil {
		return zerolog.Nop(), nil, err
	}

	return zerolog.New(w).Level(level).With().Timestamp().Logger(), w.Close, nil
}

func openLines(output string, stdout io.Writer) (io.WriteCloser, error) {
	if output == "" {
		return onStdout(stdout), nil
	}

	const mode = 0o640 // who runs zot, and who collects logs

	f, err := os.OpenFile(output, os.O_APPEND|os.O_CREATE|os.O_WRONLY, mode)
	if err != nil {
		return nil, fmt.Errorf("log.output: %w", err)
	}

	return newGathered(f), nil
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
