package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"zotregistry.io/zot/pkg/storage"
)

// copyProgress shows how far a copy is: a bar on a terminal, a line now and then elsewhere.
type copyProgress struct {
	out      io.Writer
	terminal bool
	last     time.Time // when something was shown
	drawn    bool      // the bar is on the screen
}

// progressEvery is how often a line is printed where there is no terminal.
const progressEvery = 10 * time.Second

func newCopyProgress(out io.Writer) *copyProgress {
	file, ok := out.(*os.File)

	return &copyProgress{out: out, terminal: ok && term.IsTerminal(int(file.Fd())), last: time.Now()}
}

func (p *copyProgress) show(done storage.Copied) {
	text := fmt.Sprintf("%d of %d repositories, %s sent", done.Repos, done.Of, sizeOf(done.Bytes))

	switch {
	case p.terminal:
		fmt.Fprintf(p.out, "\r%s %s\x1b[K", barOf(done.Repos, done.Of), text) // and clear the rest of the line
		p.drawn = true
	case time.Since(p.last) >= progressEvery:
		fmt.Fprintln(p.out, text)
		p.last = time.Now()
	}
}

// end leaves the bar's line.
func (p *copyProgress) end() {
	if p.drawn {
		fmt.Fprintln(p.out)
		p.drawn = false
	}
}

// barOf is a bar of 30 characters.
func barOf(done, of int) string {
	const width = 30

	full := 0
	if of > 0 {
		full = width * done / of
	}

	return "[" + strings.Repeat("#", full) + strings.Repeat(".", width-full) + "]"
}

// sizeOf says a number of bytes to people.
func sizeOf(bytes int64) string {
	const step = 1024

	if bytes < step {
		return fmt.Sprintf("%d B", bytes)
	}

	size, unit := float64(bytes), 0
	for ; size >= step && unit < 4; unit++ {
		size /= step
	}

	return fmt.Sprintf("%.1f %ciB", size, " KMGT"[unit])
}
