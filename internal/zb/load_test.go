package zb

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/smartystreets/goconvey/convey"

	"zotregistry.io/zot/internal/wire"
)

// taking returns an operation whose n-th call takes as long as it says, in the bubble's time.
func taking(long func(n int) time.Duration) operation {
	return func(_, n int) (timed, error) {
		return func(context.Context) (int64, error) {
			time.Sleep(long(n)) // of the bubble: it takes no time

			return 10, nil
		}, nil
	}
}

// stall takes a second once, and a millisecond else.
func stall(n int) time.Duration {
	if n == 5 {
		return time.Second
	}

	return time.Millisecond
}

func mustRun(t *testing.T, l load, op operation) Result {
	t.Helper()

	rec := newRecorder()
	if err := l.run(t.Context(), op, rec); err != nil {
		t.Fatal(err)
	}

	return rec.result(Test{Name: "test"}, l, usages{idleCores: -1})
}

func TestLoops(t *testing.T) {
	t.Run("A closed loop hides that others would have waited", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := mustRun(t, load{workers: 1, total: 100}, taking(stall))
			if r.Operations != 100 || r.Bytes != 1000 || r.Service != nil {
				t.Errorf("%+v", r)
			}

			wantMillis(t, "p50", r.Latency.P50, 1)
			wantMillis(t, "p90", r.Latency.P90, 1)
			wantMillis(t, "max", r.Latency.Max, 1000)
			wantMillis(t, "length", r.Seconds, 1.099)
		})
	})

	t.Run("An open loop shows it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := mustRun(t, load{workers: 1, total: 100, rate: 100}, taking(stall))

			// Number 5 is planned at 50 ms and ends at 1050 ms; number n is planned at 10 n ms, and
			// begins when those before it have ended, 1 ms each. Only some before the 100th is nothing
			// left to be caught up with.
			wantMillis(t, "max", r.Latency.Max, 1000)
			wantMillis(t, "p50", r.Latency.P50, 550)
			wantMillis(t, "p50 of service", r.Service.P50, 1)
			wantMillis(t, "length", r.Seconds, 1.144)

			if r.Queued != 94 {
				t.Errorf("%d arrivals had to wait, want 94", r.Queued)
			}
		})
	})

	t.Run("With enough workers only what stalls is late", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := mustRun(t, load{workers: 2, total: 200, rate: 100}, taking(stall))

			wantMillis(t, "p99", r.Latency.P99, 1)
			wantMillis(t, "max", r.Latency.Max, 1000)
			wantMillis(t, "length", r.Seconds, 1.991)

			if r.Queued != 0 {
				t.Errorf("%d arrivals had to wait", r.Queued)
			}
		})
	})

	t.Run("A load may end by time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			closed := mustRun(t, load{workers: 3, duration: time.Second}, taking(func(int) time.Duration { return 100 * time.Millisecond }))
			open := mustRun(t, load{workers: 3, duration: time.Second, rate: 20}, taking(func(int) time.Duration { return 100 * time.Millisecond }))

			if closed.Operations != 30 || open.Operations != 20 {
				t.Errorf("%d and %d operations, want 30 and 20", closed.Operations, open.Operations)
			}
		})
	})
}

// wantMillis compares with what three digits of a histogram tell apart.
func wantMillis(t *testing.T, what string, got, want float64) {
	t.Helper()

	if got < want*0.999 || got > want*1.001 {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failures := []error{
			&wire.StatusError{Status: 503}, wire.ErrDigest, errNotMounted, errors.New("connection reset"), errAnswer, nil,
		}

		rec := newRecorder()
		l := load{workers: 1, total: 13, timeout: time.Second}

		err := l.run(t.Context(), func(_, n int) (timed, error) {
			return func(ctx context.Context) (int64, error) {
				if n == 12 {
					<-ctx.Done()

					return 0, ctx.Err()
				}

				return 1, failures[n%6]
			}, nil
		}, rec)
		if err != nil {
			t.Fatal(err)
		}

		r := rec.result(Test{}, l, usages{idleCores: -1})
		if r.Operations != 2 || r.Failed != 11 || r.Bytes != 2 || r.Latency.Count != 2 {
			t.Errorf("%+v", r)
		}

		for kind, want := range map[string]int64{"503": 2, "wrong bytes": 2, "not mounted": 2, "no answer": 2, "wrong answer": 2, "timeout": 1} {
			if r.Errors[kind] != want || r.Examples[kind] == "" {
				t.Errorf("%s: %d, such as %q; want %d", kind, r.Errors[kind], r.Examples[kind], want)
			}
		}
	})
}

func TestOutlast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, interrupt := context.WithCancel(t.Context())
		longer, cancel := outlast(ctx, time.Minute)

		defer cancel()

		time.Sleep(time.Hour) // of the bubble, as below

		if longer.Err() != nil {
			t.Error("it ends although nobody interrupts")
		}

		interrupt()
		time.Sleep(time.Minute - time.Second)

		if longer.Err() != nil {
			t.Error("it ends at once")
		}

		time.Sleep(2 * time.Second)

		if longer.Err() == nil {
			t.Error("it does not end")
		}
	})
}

func TestEnds(t *testing.T) {
	Convey("A run ends", t, func() {
		rec := newRecorder()

		Convey("with what can't be made ready", func() {
			broken := errors.New("broken")
			op := func(int, int) (timed, error) { return nil, broken }

			So(load{workers: 2, total: 10}.run(t.Context(), op, rec), ShouldEqual, broken)
		})

		Convey("with its context, and what that interrupts has not failed", func() {
			ctx, cancel := context.WithCancel(t.Context())
			op := func(int, int) (timed, error) {
				return func(ctx context.Context) (int64, error) {
					cancel()

					return 0, ctx.Err()
				}, nil
			}

			So(load{workers: 2, total: 10}.run(ctx, op, rec), ShouldEqual, context.Canceled)
			So(rec.failed, ShouldEqual, 0)
		})
	})
}
