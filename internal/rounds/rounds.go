// Package rounds shares work that serves everybody who has asked for it before it began:
// a flush of a disk, a look at what others have written.
package rounds

import (
	"context"
	"sync"
)

// Rounds does a piece of work in rounds, one at a time. Whoever asks gets one that began
// after the question; all who ask while one is under way share the next. Set the fields
// before use; Ask may be called concurrently.
type Rounds struct {
	// Work is one round. Its context is not that of whoever waits, since it serves many.
	Work func(ctx context.Context) error

	// Go starts a goroutine that ends when nobody waits any more; nil = the language's.
	Go func(func())

	mu      sync.Mutex // guards all below
	running bool
	next    *round // not begun yet; nil = nobody waits
}

type round struct {
	done chan struct{}
	err  error
}

// Ask returns what a round ended with that began after the call. A caller that stops
// waiting stops nothing.
func (r *Rounds) Ask(ctx context.Context) error {
	mine := r.join(context.WithoutCancel(ctx))

	select {
	case <-mine.done:
		return mine.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *Rounds) join(ctx context.Context) *round {
	r.mu.Lock()
	defer r.mu.Unlock()

	if r.next == nil {
		r.next = &round{done: make(chan struct{})}
	}

	mine := r.next

	if !r.running {
		r.running = true
		r.start(func() { r.work(ctx) })
	}

	return mine
}

func (r *Rounds) start(work func()) {
	if r.Go == nil {
		go work()
	} else {
		r.Go(work)
	}
}

// work does one round after the other until nobody waits.
func (r *Rounds) work(ctx context.Context) {
	for next := r.begin(); next != nil; next = r.begin() {
		next.err = r.Work(ctx)
		close(next.done)
	}
}

func (r *Rounds) begin() *round {
	r.mu.Lock()
	defer r.mu.Unlock()

	next := r.next
	r.next = nil
	r.running = next != nil

	return next
}
