package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"zotregistry.io/zot/internal/pause"
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
	warmed

	target target
	pushed atomic.Uint64 // images, each another one
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

	g.warmed, err = g.warm(ctx, g.clients)

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

		if err := pause.For(ctx, time.Second); err != nil {
			return 0, err
		}
	}
}

type served struct{ push, pull series }

// load has half of the clients push and half of them pull, until a function returns.
func (g *gcBench) load(ctx context.Context, until func(context.Context) error) (served, error) {
	went, err := during(ctx, max(1, g.clients/2), until, g.pushOne, g.pullOne)

	return served{push: went[0], pull: went[1]}, err
}

func (g *gcBench) pushOne(ctx context.Context, worker, _ int) error {
	n := g.pushed.Add(1)

	images, err := g.prepare(1, 1<<31+n)
	if err != nil {
		return err
	}

	return g.push(ctx, repoOf(worker), tagOf(int(n)), images[0])
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
