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

	w, closeLog := forPeople(stdout), func() error { return nil }

	if cfg.Output != "" {
		const mode = 0o640 // who runs zot, and who collects logs

		f, err := os.OpenFile(cfg.Output, os.O_APPEND|os.O_CREATE|os.O_WRONLY, mode)
		if err != nil {
			return zerolog.Nop(), nil, fmt.Errorf("log.output: %w", err)
		}

		w, closeLog = f, f.Close
	}

	return zerolog.New(w).Level(level).With().Timestamp().Logger(), closeLog, nil
}

// forPeople returns a writer of text for people if w is a terminal.
func forPeople(w io.Writer) io.Writer {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return zerolog.ConsoleWriter{Out: w, TimeFormat: "15:04:05.000"}
	}

	return w
}
