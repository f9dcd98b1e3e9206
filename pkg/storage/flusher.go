package storage

import (
	"context"
	"sync"
)

// flusher shares flushes: whoever calls flush gets one that began after the call,
// and all who come while one is running share the next. With 16 clients pushing, one
// sync of the file system serves the bytes of some and the records of others.
type flusher struct {
	sync  func() error // one flush
	tasks *tasks

	mu      sync.Mutex
	running bool
	next    *flushRound // not begun yet; nil = nobody waits
}

type flushRound struct {
	done chan struct{}
	err  error
}

// flush returns when all that was written before the call is durable, or may be
// lost. A caller that stops waiting stops nothing.
func (f *flusher) flush(ctx context.Context) error {
	round := f.join()

	select {
	case <-round.done:
		return round.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *flusher) join() *flushRound {
	f.mu.Lock()
	defer f.mu.Unlock()

	if f.next == nil {
		f.next = &flushRound{done: make(chan struct{})}
	}

	if !f.running {
		f.running = true
		f.tasks.run(f.rounds)
	}

	return f.next
}

// rounds runs one flush after the other until nobody waits.
func (f *flusher) rounds() {
	for round := f.begin(); round != nil; round = f.begin() {
		round.err = f.sync()
		close(round.done)
	}
}

func (f *flusher) begin() *flushRound {
	f.mu.Lock()
	defer f.mu.Unlock()

	round := f.next
	f.next = nil
	f.running = round != nil

	return round
}
