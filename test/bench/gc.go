package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// benchGC measures what a run of GC over a store costs those who push and pull meanwhile.
func benchGC(ctx context.Context, o options, out io.Writer) (err error) {
	g := &gcBench{options: o, target: zotTarget("zot", o.zot, map[string]any{"gcDelay": "5s", "gcInterval": "0s"})}

	if g.subject, err = g.target.open(ctx); err != nil {
		return err
	}

	defer func() { err = errors.Join(err, g.close()) }()

	begun := time.Now()

	if err := g.build(ctx); err != nil {
		return err
	}

	fmt.Fprintf(out, "%d repositories of %d blobs, half of them garbage, made in %.0fs\n",
		o.repositories, blobsPerRepository, time.Since(begun).Seconds())

	if o.idle {
		return g.collectIdle(ctx, out)
	}

	return g.collectBusy(ctx, out)
}

// gcBench is a measurement of GC.
type gcBench struct {
	options

	*subject

	target target
	pushed atomic.Uint64 // images, each another one
	warm   []*image      // to be pulled
}

// build makes the store: layouts that zot takes in, as if others had written them. Then zot
// starts anew, so that its memory is what serving and GC need.
func (g *gcBench) build(ctx context.Context) error {
	if err := g.makeLayouts(ctx); err != nil {
		return err
	}

	err := each(ctx, g.clients, g.repositories, func(ctx context.Context, _, n int) error {
		_, _, err := g.client.Manifest(ctx, layoutName(n), tagOf(0))

		return err
	})
	if err != nil {
		return err
	}

	if err := g.daemon.Stop(); err != nil { // checkpoints are written
		return err
	}

	if err := g.reopen(ctx); err != nil {
		return err
	}

	g.warm, err = g.prepare(100, 1<<30)
	if err != nil {
		return err
	}

	err = each(ctx, g.clients, len(g.warm), func(ctx context.Context, _, n int) error {
		return g.push(ctx, warmRepo, tagOf(n), g.warm[n])
	})

	return err
}

// collectIdle measures GC when nobody asks for anything.
func (g *gcBench) collectIdle(ctx context.Context, out io.Writer) error {
	before, err := g.resetPeak()
	if err != nil {
		return err
	}

	took, err := g.collect(ctx, out)
	if err != nil {
		return err
	}

	peak, err := g.peak()
	fmt.Fprintf(out, "GC: %.1fs; memory %d MiB at the most, %d MiB before\n", took.Seconds(), peak>>20, before>>20)

	return err
}

// collectBusy measures pushes and pulls before, while and after GC runs.
func (g *gcBench) collectBusy(ctx context.Context, out io.Writer) error {
	base := time.Duration(g.seconds) * time.Second

	if _, err := g.load(ctx, sleepFor(base/4)); err != nil { // warm up
		return err
	}

	before, err := g.load(ctx, sleepFor(base))
	if err != nil {
		return err
	}

	serving, err := g.resetPeak()
	if err != nil {
		return err
	}

	var took time.Duration

	during, err := g.load(ctx, func(ctx context.Context) (err error) {
		took, err = g.collect(ctx, out)

		return err
	})
	if err != nil {
		return err
	}

	peak, err := g.peak()
	if err != nil {
		return err
	}

	after, err := g.load(ctx, sleepFor(base))
	if err != nil {
		return err
	}

	for _, row := range []struct {
		when string
		served
	}{{"before", before}, {"during", during}, {"after", after}} {
		fmt.Fprintf(out, "%s GC: push %.0f/s, p99 %s; pull %.0f/s, p99 %s\n", row.when,
			row.push.rate, row.push.p99.Round(time.Millisecond/10), row.pull.rate, row.pull.p99.Round(time.Millisecond/10))
	}

	fmt.Fprintf(out, "GC: %.1fs; memory %d MiB at the most, %d MiB when it began; meanwhile %.0f images were pushed, which stay in memory\n",
		took.Seconds(), peak>>20, serving>>20, during.push.rate*took.Seconds())
	fmt.Fprintf(out, "ratios: push %.2f, p99 %.1f; pull %.2f, p99 %.1f (of the mean of before and after)\n",
		ratio(before.push.rate, during.push.rate, after.push.rate), ratio(before.push.p99, during.push.p99, after.push.p99),
		ratio(before.pull.rate, during.pull.rate, after.pull.rate), ratio(before.pull.p99, during.pull.p99, after.pull.p99))

	return nil
}

func ratio[N float64 | time.Duration](before, during, after N) float64 {
	return float64(during) / ((float64(before) + float64(after)) / 2)
}

func sleepFor(d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// collect runs GC by the command, as soon as that may be, and prints what it has done.
func (g *gcBench) collect(ctx context.Context, out io.Writer) (time.Duration, error) {
	for {
		begun := time.Now()

		text, err := exec.CommandContext(ctx, g.zot, "gc", "--config", filepath.Join(g.dir, "config.json")).CombinedOutput()
		if err == nil {
			_, err = fmt.Fprintf(out, "%s", text)

			return time.Since(begun), err
		}

		if !strings.Contains(string(text), "too early") {
			return 0, fmt.Errorf("zot gc: %w: %s", err, text)
		}

		if err := sleepFor(time.Second)(ctx); err != nil {
			return 0, err
		}
	}
}

// series is how one kind of work went.
type series struct {
	rate float64 // images a second
	p99  time.Duration
}

type served struct{ push, pull series }

// load has half of the clients push and half of them pull, until a function returns.
func (g *gcBench) load(ctx context.Context, until func(context.Context) error) (served, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()

	var (
		group    errgroup.Group
		begun    = time.Now()
		each     = max(1, g.clients/2)
		push     = make([][]time.Duration, each)
		pull     = make([][]time.Duration, each)
		finished error
	)

	for w := range each {
		group.Go(func() error { return timed(ctx, &push[w], func() error { return g.pushOne(ctx, w) }) })
		group.Go(func() error { return timed(ctx, &pull[w], func() error { return g.pullOne(ctx, w, len(pull[w])) }) })
	}

	group.Go(func() error {
		defer stop()

		finished = until(ctx)

		return nil
	})

	err := group.Wait()
	took := time.Since(begun)

	return served{seriesOf(push, took), seriesOf(pull, took)}, errors.Join(err, finished)
}

// timed does work again and again until ctx ends, and notes how long each took.
func timed(ctx context.Context, took *[]time.Duration, work func() error) error {
	for {
		begun := time.Now()
		err := work()
		lasted := time.Since(begun)

		if ctx.Err() != nil {
			return nil //nolint:nilerr // it failed because ctx has ended, if it did
		}

		if err != nil {
			return err
		}

		*took = append(*took, lasted)
	}
}

func (g *gcBench) pushOne(ctx context.Context, worker int) error {
	n := g.pushed.Add(1)

	images, err := g.prepare(1, 1<<31+n)
	if err != nil {
		return err
	}

	return g.push(ctx, repoOf(worker), tagOf(int(n)), images[0])
}

func (g *gcBench) pullOne(ctx context.Context, worker, n int) error {
	i := (worker + n) % len(g.warm)

	return g.pull(ctx, warmRepo, tagOf(i), g.warm[i])
}

func seriesOf(workers [][]time.Duration, took time.Duration) series {
	all := slices.Concat(workers...)
	if len(all) == 0 {
		return series{}
	}

	slices.Sort(all)

	return series{rate: float64(len(all)) / took.Seconds(), p99: all[len(all)*99/100]}
}

// peak is the most memory that zot had since resetPeak, in bytes.
func (g *gcBench) peak() (int64, error) { return statusOf(g.daemon.PID(), "VmHWM:") }

// resetPeak begins to look for the peak anew, and returns what zot has now.
func (g *gcBench) resetPeak() (int64, error) {
	file := fmt.Sprintf("/proc/%d/clear_refs", g.daemon.PID())
	if err := os.WriteFile(file, []byte("5"), 0); err != nil { // proc(5)
		return 0, err
	}

	return statusOf(g.daemon.PID(), "VmRSS:")
}
