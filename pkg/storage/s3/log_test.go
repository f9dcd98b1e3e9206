//go:build remote

package s3_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/smartystreets/goconvey/convey"
	"golang.org/x/sync/errgroup"

	"zotregistry.io/zot/internal/faultproxy"
	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/s3"
)

// logReplica appends to a log as the engine does.
type logReplica struct {
	storage.Log

	name  string
	tried int
	last  uint64 // number of the last record that it knows

	// What it was told of its records.
	acknowledged, lost, unknown []string
}

func newLogReplica(t *testing.T, opts s3.Options, name string) *logReplica {
	t.Helper()

	bucket := mustOpen(t, opts)
	t.Cleanup(func() { _ = bucket.Close() })

	log, loaded, err := loadLog(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}

	return &logReplica{Log: log, name: name, last: loaded.last()}
}

// append appends a record of its own, once.
func (r *logReplica) append(ctx context.Context, size int) error {
	r.tried++
	who := fmt.Sprintf("%s-%d", r.name, r.tried)

	err := r.Append(ctx, []storage.Record{{
		Seq: r.last + 1, Time: time.Unix(0, 0).UTC(), Who: who + strings.Repeat(" ", size),
	}})

	switch {
	case err == nil:
		r.last++
		r.acknowledged = append(r.acknowledged, who)
	case errors.Is(err, storage.ErrConflict):
		r.lost = append(r.lost, who)
	default:
		r.unknown = append(r.unknown, who)
	}

	return err
}

// catchUp takes in what others have appended.
func (r *logReplica) catchUp(ctx context.Context) error {
	changes, err := r.Refresh(ctx, r.last, time.Now())
	if err != nil {
		return err
	}

	if changes.Reload {
		loaded, err := load(ctx, r.Log)
		r.last = max(r.last, loaded.last())

		return err
	}

	for _, record := range changes.Records {
		if record.Seq != r.last+1 {
			return fmt.Errorf("behind %d comes %d", r.last, record.Seq)
		}

		r.last++
	}

	return nil
}

// push appends until it is told that a record is there, or that it is not known.
func (r *logReplica) push(ctx context.Context, size int) error {
	for {
		err := r.append(ctx, size)
		if err == nil {
			return nil
		}

		if err := r.catchUp(ctx); err != nil && ctx.Err() != nil {
			return err
		}

		if !errors.Is(err, storage.ErrConflict) {
			return nil
		}
	}
}

func (r *logReplica) checkpoint(ctx context.Context) error {
	if err := r.catchUp(ctx); err != nil {
		return err
	}

	seq := r.last

	return r.Checkpoint(ctx, seq, func(w io.Writer) error {
		_, err := fmt.Fprint(w, "state ", seq)

		return err
	}, nil)
}

// watcher reads all that a log ever has: checkpoints of these tests do not tell.
type watcher struct {
	log  storage.Log
	seen []storage.Record
}

func (w *watcher) look(ctx context.Context) error {
	changes, err := w.log.Refresh(ctx, uint64(len(w.seen)), time.Now())
	if err == nil && changes.Reload {
		err = errors.New("the watcher came too late")
	}

	w.seen = append(w.seen, changes.Records...)

	return err
}

// check says whether replicas were told the truth about what is there.
func (w *watcher) check(t *testing.T, replicas ...*logReplica) {
	t.Helper()

	times := map[string]int{}

	for i, record := range w.seen {
		if record.Seq != uint64(i+1) {
			t.Fatalf("record %d is number %d", i+1, record.Seq)
		}

		times[strings.TrimSpace(record.Who)]++
	}

	total := 0

	for _, r := range replicas {
		for _, who := range r.acknowledged {
			if times[who] != 1 {
				t.Errorf("%s was acknowledged, and is there %d times", who, times[who])
			}
		}

		for _, who := range r.lost {
			if times[who] != 0 {
				t.Errorf("%s is there, but it was told that others were first", who)
			}
		}

		for _, who := range r.unknown {
			if times[who] > 1 {
				t.Errorf("%s is there %d times", who, times[who])
			}
		}

		total += len(r.acknowledged) + len(r.unknown)
	}

	if len(w.seen) > total {
		t.Errorf("%d records are there of %d", len(w.seen), total)
	}
}

func newWatcher(t *testing.T, opts s3.Options) *watcher {
	t.Helper()

	return &watcher{log: newLogReplica(t, opts, "watcher").Log}
}

func isHead(r faultproxy.Request) bool { return strings.HasSuffix(r.Key, "/.zot/head") }

func putsHead(r faultproxy.Request) bool {
	return isHead(r) && r.Operation == faultproxy.PutObject
}

// TestAmbiguousAppends has three replicas append to one log, while answers are lost,
// requests come late or twice, and the server fails. Each record that was acknowledged is
// there once, and none that its writer was told had lost.
func TestAmbiguousAppends(t *testing.T) {
	b := newBench(t)

	for _, seed := range []uint64{1, 2, 3} {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			opts := b.proxied()
			ours := func(r faultproxy.Request) bool { return isHead(r) && strings.HasPrefix(r.Key, opts.Prefix+"/") }
			puts := func(r faultproxy.Request) bool { return ours(r) && r.Operation == faultproxy.PutObject }

			b.proxy.Reset()
			b.proxy.Seed(seed)

			var late []*faultproxy.Fault

			for _, rule := range []faultproxy.Rule{
				{Match: puts, Kind: faultproxy.ConnReset, After: true, Chance: 0.1},
				{Match: puts, Kind: faultproxy.ConnReset, Chance: 0.05},
				{Match: puts, Kind: faultproxy.Late, Delay: 30 * time.Millisecond, Chance: 0.1},
				{Match: puts, Kind: faultproxy.Duplicate, Delay: 40 * time.Millisecond, Chance: 0.1},
				{Match: puts, Kind: faultproxy.Conflict, Chance: 0.05},
				{Match: puts, Kind: faultproxy.Conflict, After: true, Chance: 0.05},
				{Match: puts, Kind: faultproxy.InternalError, After: true, Chance: 0.05},
				{Match: puts, Kind: faultproxy.Blackhole, Delay: 50 * time.Millisecond, Chance: 0.03},
				{Match: ours, Kind: faultproxy.ConnReset, Chance: 0.05},
				{Match: ours, Kind: faultproxy.Truncate, Chance: 0.05},
			} {
				late = append(late, b.proxy.Inject(rule))
			}

			watch := newWatcher(t, b.direct(opts))
			replicas := make([]*logReplica, 3)

			var group errgroup.Group

			for i := range replicas {
				replicas[i] = newLogReplica(t, opts, fmt.Sprint("replica", i))

				group.Go(func() error {
					for range 60 {
						if err := replicas[i].push(t.Context(), 600); err != nil {
							return err
						}
					}

					return nil
				})
			}

			if err := group.Wait(); err != nil {
				t.Error(err)
			}

			for _, fault := range late {
				fault.Remove()

				if err := fault.Settle(t.Context()); err != nil {
					t.Error(err)
				}
			}

			if err := watch.look(t.Context()); err != nil {
				t.Fatal(err)
			}

			watch.check(t, replicas...)
		})
	}
}

// direct are options of the same prefix, without the proxy.
func (b *bench) direct(opts s3.Options) s3.Options {
	opts.Endpoint = b.server.Endpoint

	return opts
}

// TestSuspendedReplica holds the request of a replica while others go on.
func TestSuspendedReplica(t *testing.T) {
	b := newBench(t)

	Convey("A replica that sleeps in the middle of an append", t, func() {
		b.proxy.Reset()

		opts := b.proxied()
		others := []*logReplica{newLogReplica(t, b.direct(opts), "a"), newLogReplica(t, b.direct(opts), "b")}
		watch := newWatcher(t, b.direct(opts))

		So(others[0].push(t.Context(), 0), ShouldBeNil)

		sleeper := newLogReplica(t, opts, "sleeper")

		// Its request is held before it is done; or it was done, the answer was lost, and
		// the question what happened is held.
		sleep := func(after bool, meanwhile func()) error {
			held := faultproxy.Rule{Match: putsHead, Kind: faultproxy.Hold, Times: 1}
			if after {
				b.proxy.Inject(faultproxy.Rule{Match: putsHead, Kind: faultproxy.ConnReset, After: true, Times: 1})

				held.Match = func(r faultproxy.Request) bool { return isHead(r) && r.Operation == faultproxy.GetObject }
			}

			fault := b.proxy.Inject(held)
			done := make(chan error, 1)

			go func() { done <- sleeper.append(t.Context(), 0) }()

			So(fault.Await(t.Context(), 1), ShouldBeNil)
			meanwhile()
			fault.Release()

			return <-done
		}

		grow := func(records int) {
			for i := range records {
				So(others[i%2].push(t.Context(), 4000), ShouldBeNil)
				So(watch.look(t.Context()), ShouldBeNil)
			}
		}

		check := func() {
			So(watch.look(t.Context()), ShouldBeNil)
			watch.check(t, append(slices.Clone(others), sleeper)...)

			// It goes on as if nothing had been.
			So(sleeper.catchUp(t.Context()), ShouldBeNil)
			So(sleeper.push(t.Context(), 0), ShouldBeNil)
			So(watch.look(t.Context()), ShouldBeNil)
			watch.check(t, append(slices.Clone(others), sleeper)...)
		}

		for name, after := range map[string]bool{"before its request is done": false, "after its request was done, and the answer lost": true} {
			Convey(name, func() {
				Convey("is told what happened, when others have appended", func() {
					err := sleep(after, func() { grow(3) })
					if after {
						So(err, ShouldBeNil)
					} else {
						So(errors.Is(err, storage.ErrConflict), ShouldBeTrue)
					}

					check()
				})

				Convey("is told what happened, when the head has moved on by hundreds of records", func() {
					err := sleep(after, func() {
						grow(150)
						So(others[0].checkpoint(t.Context()), ShouldBeNil)
						grow(50)
					})
					if after {
						So(err, ShouldBeNil)
					} else {
						So(errors.Is(err, storage.ErrConflict), ShouldBeTrue)
					}

					check()
				})

				Convey("is told that nobody knows, or that it was refused, when no head leads there any more", func() {
					err := sleep(after, func() {
						for range 3 {
							grow(50)
							So(others[1].catchUp(t.Context()), ShouldBeNil)
							So(others[1].checkpoint(t.Context()), ShouldBeNil)
						}
					})
					So(errors.Is(err, storage.ErrUnavailable), ShouldEqual, after)
					So(errors.Is(err, storage.ErrConflict), ShouldEqual, !after)
					check()
				})
			})
		}
	})

	Convey("A replica whose request comes a long time later changes nothing by it", t, func() {
		b.proxy.Reset()

		opts := b.proxied()
		late := b.proxy.Inject(faultproxy.Rule{Match: putsHead, Kind: faultproxy.Late, Times: 2})
		watch, other := newWatcher(t, b.direct(opts)), newLogReplica(t, b.direct(opts), "other")
		slow := newLogReplica(t, opts, "slow")

		So(slow.push(t.Context(), 0), ShouldBeNil) // at the third try

		for range 20 {
			So(other.push(t.Context(), 0), ShouldBeNil)
		}

		late.Release()
		So(late.Settle(t.Context()), ShouldBeNil)
		So(slow.push(t.Context(), 0), ShouldBeNil)
		So(watch.look(t.Context()), ShouldBeNil)
		So(len(watch.seen), ShouldEqual, 22)
		watch.check(t, slow, other)
	})

	Convey("Replicas that write checkpoints at once lose nothing", t, func() {
		opts := b.direct(b.proxied())
		replicas := make([]*logReplica, 3)
		watch := newWatcher(t, opts)

		var group sync.WaitGroup

		for i := range replicas {
			replicas[i] = newLogReplica(t, opts, fmt.Sprint("replica", i))

			group.Go(func() {
				for n := range 30 {
					if err := replicas[i].push(t.Context(), 1000); err != nil {
						t.Error(err)
					}

					if n%10 == i {
						if err := replicas[i].checkpoint(t.Context()); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}

		done := make(chan struct{})

		go func() { group.Wait(); close(done) }()

		for ended := false; !ended; {
			select {
			case <-done:
				ended = true
			default:
			}

			So(watch.look(t.Context()), ShouldBeNil)
		}

		watch.check(t, replicas...)

		_, loaded, err := loadLog(t.Context(), mustOpen(t, opts))
		So(err, ShouldBeNil)
		So(loaded.last(), ShouldEqual, uint64(len(watch.seen)))
		So(loaded.checkpoint, ShouldEqual, fmt.Sprint("state ", loaded.Covered))
	})
}
