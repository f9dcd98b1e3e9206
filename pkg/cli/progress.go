package cli

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"zotregistry.io/zot/pkg/storage"
)

// progress shows how far a check is: a bar on a terminal, else a line from time to time.
type progress struct {
	out   io.Writer
	bar   bool
	shown time.Time // when there was a line last
	dirty bool      // a bar is on the line
}

func newProgress(out io.Writer) *progress {
	file, ok := out.(*os.File)

	return &progress{out: out, bar: ok && term.IsTerminal(int(file.Fd())), shown: time.Now()}
}

func (p *progress) show(at storage.CheckProgress) {
	if p.bar {
		fmt.Fprintf(p.out, "\r\x1b[K%s %s: %d of %d, %d blobs, %s", barOf(at.Done, at.Total), at.Phase, at.Done, at.Total,
			at.Blobs, sizeOf(at.Bytes))
		p.dirty = true

		return
	}

	if time.Since(p.shown) < progressEvery {
		return
	}

	p.shown = time.Now()
	fmt.Fprintf(p.out, "%s: %d of %d repositories, %d blobs, %s, at %s\n", at.Phase, at.Done, at.Total, at.Blobs, sizeOf(at.Bytes), at.At)
}

// clear makes room for a line.
func (p *progress) clear() {
	if p.dirty {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.dirty = false
	}
}
