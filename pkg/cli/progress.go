package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// progress shows how far something is: a bar on a terminal, a line now and then elsewhere.
type progress struct {
	out      io.Writer
	terminal bool
	last     time.Time // when something was shown
	drawn    bool      // the bar is on the screen
}

// progressEvery is how often a line is printed where there is no terminal.
const progressEvery = 10 * time.Second

func newProgress(out io.Writer) *progress {
	file, ok := out.(*os.File)

	return &progress{out: out, terminal: ok && term.IsTerminal(int(file.Fd())), last: time.Now()}
}

// show shows that done of so many are done, and a text.
func (p *progress) show(done, of int, text string) {
	switch {
	case p.terminal:
		fmt.Fprintf(p.out, "\r%s %s\x1b[K", barOf(done, of), text) // and clear the rest of the line
		p.drawn = true
	case time.Since(p.last) >= progressEvery:
		fmt.Fprintln(p.out, text)
		p.last = time.Now()
	}
}

// clear makes room for a line where the bar is.
func (p *progress) clear() {
	if p.drawn {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.drawn = false
	}
}

// end leaves the bar's line.
func (p *progress) end() {
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
