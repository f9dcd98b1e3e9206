package cli

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

const (
	// gatherFor is how long lines of the log wait for others, to be written together: a
	// system call for each would be a tenth of what a request costs.
	gatherFor = 10 * time.Millisecond

	// gatherMost is how many bytes may wait.
	gatherMost = 64 << 10
)

// gathered is a log whose lines are written together. Warnings, errors and what is worse
// are written at once, with all that came before.
type gathered struct {
	mu      sync.Mutex // guards what follows, and the order of lines
	out     io.WriteCloser
	waiting []byte
	timer   *time.Timer // runs while lines wait
	failed  bool        // the last write has failed
}

var _ zerolog.LevelWriter = (*gathered)(nil)

func newGathered(out io.WriteCloser) *gathered {
	g := &gathered{out: out}
	g.timer = time.AfterFunc(time.Hour, g.Flush)
	g.timer.Stop()

	return g
}

// Write takes a line of any level.
func (g *gathered) Write(line []byte) (int, error) { return g.WriteLevel(zerolog.ErrorLevel, line) }

// WriteLevel implements zerolog.LevelWriter.
func (g *gathered) WriteLevel(level zerolog.Level, line []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()

	if len(g.waiting) == 0 {
		g.timer.Reset(gatherFor)
	}

	g.waiting = append(g.waiting, line...)

	if level >= zerolog.WarnLevel || len(g.waiting) >= gatherMost {
		g.flush()
	}

	return len(line), nil
}

// Flush writes what waits.
func (g *gathered) Flush() {
	g.mu.Lock()
	defer g.mu.Unlock()

	g.flush()
}

// flush is called with mu held. That the log cannot be written standard error learns, once.
func (g *gathered) flush() {
	g.timer.Stop()

	if len(g.waiting) == 0 {
		return
	}

	_, err := g.out.Write(g.waiting)
	g.waiting = g.waiting[:0]

	if err != nil && !g.failed {
		fmt.Fprintf(os.Stderr, "zot: write log: %v\n", err)
	}

	g.failed = err != nil
}

// change writes what waits, and goes on in another file. The old one is closed.
func (g *gathered) change(out io.WriteCloser) error {
	g.mu.Lock()
	defer g.mu.Unlock()

	g.flush()

	old := g.out
	g.out = out

	if err := old.Close(); err != nil {
		return fmt.Errorf("close the old log: %w", err)
	}

	return nil
}

// Close writes what waits, and closes the file.
func (g *gathered) Close() error {
	g.Flush()

	return g.out.Close()
}
