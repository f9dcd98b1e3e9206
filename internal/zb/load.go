package zb

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// load is how often, and when, an operation is called.
type load struct {
	workers  int           // operations under way at once, at most
	total    int           // operations; 0 = until the time is over
	duration time.Duration // 0 = until all operations are done
	rate     float64       // operations that arrive per second; 0 = a worker's next follows its last
	timeout  time.Duration // of one operation; 0 = none
}

// planned is when the n-th operation of an open loop arrives, counted from the start.
func (l load) planned(n int) time.Duration {
	return time.Duration(float64(n) / l.rate * float64(time.Second))
}

// over says whether operation n is none any more, since after the start.
func (l load) over(n int, since time.Duration) bool {
	if l.total > 0 {
		return n >= l.total
	}

	if l.rate > 0 {
		since = l.planned(n)
	}

	return since >= l.duration
}

// run calls the operation until the load is over, and waits for the last one. An operation
// that fails is recorded; one that can't be made ready ends the run.
func (l load) run(ctx context.Context, op operation, rec *recorder) error {
	var next atomic.Int64

	group, ctx := errgroup.WithContext(ctx)
	start := time.Now()
	rec.begin(start)

	for worker := range l.workers {
		group.Go(func() error {
			patience := &patience{timeout: l.timeout}
			defer patience.end()

			for {
				n := int(next.Add(1)) - 1
				if l.over(n, time.Since(start)) {
					return nil
				}

				do, err := op(worker, n)
				if err != nil {
					return err
				}

				if err := l.one(ctx, do, start, n, patience, rec); err != nil {
					return err
				}
			}
		})
	}

	err := group.Wait()
	rec.end(time.Now())

	return err
}

// one calls do when its time has come. Its latency counts from when it was planned to begin:
// while the registry stalls others arrive, and wait, as they would in truth.
func (l load) one(ctx context.Context, do timed, start time.Time, n int, patience *patience, rec *recorder) error {
	var s sample

	if l.rate > 0 {
		s.planned = start.Add(l.planned(n))

		waited, err := waitUntil(ctx, s.planned)
		if err != nil {
			return err
		}

		s.queued = !waited
	}

	s.begun = time.Now()
	if l.rate == 0 {
		s.planned = s.begun
	}

	s.bytes, s.err = do(patience.of(ctx, s.begun))
	s.ended = time.Now()

	if s.err != nil && ctx.Err() != nil {
		return ctx.Err()
	}

	rec.add(s)

	return nil
}

// waitUntil returns at that time, and says whether it was still to come.
func waitUntil(ctx context.Context, at time.Time) (bool, error) {
	left := time.Until(at)
	if left <= 0 {
		return left == 0, ctx.Err()
	}

	timer := time.NewTimer(left)
	defer timer.Stop()

	select {
	case <-timer.C:
		return true, nil
	case <-ctx.Done():
		return true, ctx.Err()
	}
}
