package zb

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

// Watcher is told how a run goes: one line after the other, each in place of the last.
type Watcher func(line string)

// Line returns a Watcher that writes to a terminal.
func Line(w io.Writer) Watcher {
	return func(line string) { fmt.Fprintf(w, "\r\x1b[K%s", line) }
}

// progress tells of one test. A nil *progress tells nobody.
type progress struct {
	watch Watcher
	title string
}

func progressOf(watch Watcher, n, total int, name string) *progress {
	if watch == nil {
		return nil
	}

	return &progress{watch, fmt.Sprintf("[%d/%d] %s", n+1, total, name)}
}

func (p *progress) say(text string) {
	if p != nil {
		p.watch(p.title + "  " + text)
	}
}

// follow tells how a recorder fills, until stop is called.
func (p *progress) follow(ctx context.Context, rec *recorder, l load) (stop func()) {
	if p == nil {
		return func() {}
	}

	ctx, cancel := context.WithCancel(ctx)

	var group sync.WaitGroup

	group.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()

		for {
			select {
			case <-ctx.Done():
				return
			case now := <-tick.C:
				p.say(rec.line(now, l))
			}
		}
	})

	return func() {
		cancel()
		group.Wait()
	}
}

// line is how far a test is.
func (r *recorder) line(now time.Time, l load) string {
	r.mu.Lock()
	defer r.mu.Unlock()

	took := now.Sub(r.start)
	far := fmt.Sprintf("%d of %d", r.done+r.failed, l.total)

	if l.total == 0 {
		far = fmt.Sprintf("%d, %.0f of %.0f s", r.done+r.failed, took.Seconds(), l.duration.Seconds())
	}

	s := summarize(r.latency)

	return fmt.Sprintf("%s  %.0f/s  p50 %s  p99 %s  %d failed", far, float64(r.done)/took.Seconds(), inMillis(s.P50), inMillis(s.P99), r.failed)
}

// operations is how many ended, well or not.
func (r *recorder) operations() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()

	return r.done + r.failed
}
