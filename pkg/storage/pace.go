package storage

import (
	"context"
	"sync/atomic"
	"time"
)

// While requests are served, background work takes one part in paceParts of the time. Where
// none has come for paceQuiet it does not rest.
const (
	paceParts = 5
	paceQuiet = time.Second
	paceStep  = 2 * time.Millisecond // shorter work is not worth a rest: it is added to what follows
)

// pace keeps background work out of the way of requests.
type pace struct{ asked atomic.Int64 } // when the last request came, in Unix nanoseconds

// request notes that a request has come.
func (p *pace) request() { p.asked.Store(time.Now().UnixNano()) }

func (p *pace) isBusy() bool { return time.Since(time.Unix(0, p.asked.Load())) < paceQuiet }

// strides is background work that rests now and then. It is used by one goroutine.
type strides struct {
	pace  *pace
	since time.Time // when the last rest ended
}

func (p *pace) begin() *strides { return &strides{pace: p, since: time.Now()} }

// rest is called between steps that are short, while nobody waits for the caller.
func (s *strides) rest(ctx context.Context) {
	worked := time.Since(s.since)
	if worked < paceStep {
		return
	}

	until := time.Now().Add(worked * (paceParts - 1))

	for ctx.Err() == nil && s.pace.isBusy() && time.Now().Before(until) {
		select {
		case <-time.After(min(time.Until(until), paceQuiet/4)): // and look whether there are requests
		case <-ctx.Done():
		}
	}

	s.since = time.Now()
}
