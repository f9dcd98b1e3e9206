package zb

import (
	"context"
	"time"
)

// patience bounds how long operations take. To make a context for each of them costs the client
// what a fast registry takes for the answer, so one serves all that begin within a sixteenth of
// the timeout, and ends so much later. It is used by one goroutine; its timeout may be 0, for none.
type patience struct {
	timeout time.Duration

	ctx    context.Context //nolint:containedctx // of the operations of one worker
	cancel context.CancelFunc
	until  time.Time // when the next context is due
}

// of returns the context of an operation that begins now. That before it has ended.
func (p *patience) of(ctx context.Context, now time.Time) context.Context {
	if p.timeout == 0 {
		return ctx
	}

	if p.ctx == nil || now.After(p.until) || p.ctx.Err() != nil {
		p.end()

		p.until = now.Add(p.timeout / 16)
		p.ctx, p.cancel = context.WithDeadline(ctx, p.until.Add(p.timeout))
	}

	return p.ctx
}

func (p *patience) end() {
	if p.cancel != nil {
		p.cancel()
	}
}
