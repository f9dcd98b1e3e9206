package cache

import (
	"context"
	"sync/atomic"
	"time"
)

// remote is what the drivers that ask a server have in common.
type remote struct {
	limit  time.Duration // of one call
	closed atomic.Bool
}

// openLimit is how long opening waits for a server that does not answer: a few
// seconds, since it may be started together with zot, and less than the 10 seconds
// after which zot should have said why it does not start.
const (
	openLimit = 4 * time.Second
	openRetry = 500 * time.Millisecond
)

// call does one thing within the limit.
//
// Errors: ErrClosed.
func (r *remote) call(ctx context.Context, do func(context.Context) error) error {
	if r.closed.Load() {
		return ErrClosed
	}

	limited, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()

	err := do(limited)
	if err != nil && ctx.Err() != nil {
		return ctx.Err() // of the many ways to say so, the one that the caller knows
	}

	return err
}

// pageSize is how many keys to ask for by the next call of several, if no more than
// limit are wanted, of which have are known; a negative limit is none.
func pageSize(limit, have, most int) int {
	if limit < 0 {
		return most
	}

	return min(most, limit-have)
}

// opening returns the context of opening: no caller has one to give.
func opening(limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), limit)
}

// sleep waits for d. It returns false if ctx ends before.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()

	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
