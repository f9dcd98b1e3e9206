package storage

import (
	"context"
	"sync"
)

// tasks are the goroutines of a store. Closing waits for them.
type tasks struct {
	ctx   context.Context //nolint:containedctx // the lifetime of the store, not of a call
	stop  context.CancelFunc
	loops sync.WaitGroup
	short sync.WaitGroup
}

func newTasks(ctx context.Context) *tasks {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))

	return &tasks{ctx: ctx, stop: stop}
}

// run runs a short piece of work that others wait for. It is not stopped.
func (t *tasks) run(work func()) { t.short.Go(work) }

// loop runs work that goes on until the store closes.
func (t *tasks) loop(work func(ctx context.Context)) {
	t.loops.Go(func() { work(t.ctx) })
}

// stopLoops ends the loops and waits for them.
func (t *tasks) stopLoops() {
	t.stop()
	t.loops.Wait()
}

// wait waits for the short work under way.
func (t *tasks) wait() { t.short.Wait() }
