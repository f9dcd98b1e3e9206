// Command bench gives a first look at speed: the same load against this registry and
// against distribution, in turns, on the same machine. A small image is a config, one
// layer and a manifest, 10 kB in all; a push of it is 7 requests, a pull is 3.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
)

// options are the command line.
type options struct {
	zot, distribution string // paths of the binaries
	clients           int    // requests under way at once
	images            int    // pushed and pulled in one measurement
	runs              int    // measurements of each, of which the median counts
	tags              int    // in the repository that is full
	layer             int    // bytes of an image's layer
	bucket            bool   // on an S3 server
	gc                bool   // measure what a run of GC costs
	idle              bool   // of GC: nobody pushes or pulls meanwhile
	repositories      int    // in the store that is collected
	seconds           int    // of load before and after GC
}

func main() {
	var o options

	flag.StringVar(&o.zot, "zot", "bin/zot", "`path` of this registry")
	flag.StringVar(&o.distribution, "distribution", "bin/tools/registry", "`path` of the other one")
	flag.IntVar(&o.clients, "clients", 16, "clients at once")
	flag.IntVar(&o.images, "images", 1000, "images in one measurement")
	flag.IntVar(&o.runs, "runs", 5, "measurements of each")
	flag.IntVar(&o.tags, "tags", 5000, "tags in the full repository")
	flag.IntVar(&o.layer, "layer", layerSize, "bytes of an image's layer")
	flag.BoolVar(&o.bucket, "s3", false, "on an S3 server, versitygw")
	flag.BoolVar(&o.gc, "gc", false, "what a run of GC costs")
	flag.BoolVar(&o.idle, "idle", false, "with -gc: nobody pushes or pulls meanwhile")
	flag.IntVar(&o.repositories, "repositories", 2000, "with -gc: repositories of 100 blobs each")
	flag.IntVar(&o.seconds, "seconds", 20, "with -gc: of load before it and after it")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, o, os.Stdout)

	stop()

	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, out io.Writer) error {
	if o.gc {
		return benchGC(ctx, o, out)
	}

	if o.bucket {
		return benchBucket(ctx, o, out)
	}

	zot := zotTarget("zot", o.zot, nil)

	if err := compare(ctx, o, out, zot, distributionTarget(o.distribution)); err != nil {
		return err
	}

	uncached := zotTarget("zot, no cache", o.zot, map[string]any{"dedupe": false})
	if err := compare(ctx, o, out, zot, uncached); err != nil {
		return err
	}

	return fill(ctx, o, out)
}

// compare measures push and pull of small images, in turns.
func compare(ctx context.Context, o options, out io.Writer, targets ...target) error {
	push, pull := make([][]float64, len(targets)), make([][]float64, len(targets))

	for n := range o.runs {
		for i, t := range targets {
			pushed, pulled, err := pushAndPull(ctx, o, t, uint64(n))
			if err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}

			push[i], pull[i] = append(push[i], pushed), append(pull[i], pulled)
			fmt.Fprintf(out, "run %d  %-13s push %7.0f/s  pull %7.0f/s\n", n+1, t.name, pushed, pulled)
		}
	}

	report(out, "push", targets, push)
	report(out, "pull", targets, pull)

	return nil
}

func report(out io.Writer, what string, targets []target, rates [][]float64) {
	a, b := median(rates[0]), median(rates[1])
	fmt.Fprintf(out, "%s: %s %.0f/s, %s %.0f/s, ratio %.2f\n",
		what, targets[0].name, a, targets[1].name, b, a/b)
}

func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))

	return values[len(values)/2]
}

// pushAndPull starts t on an empty directory and returns images per second.
func pushAndPull(ctx context.Context, o options, t target, seed uint64) (pushed, pulled float64, err error) {
	s, err := t.open(ctx)
	if err != nil {
		return 0, 0, err
	}

	defer func() { err = errors.Join(err, s.close()) }()

	if err := s.fill(ctx, o, warmRepo, o.images, seed<<20+1<<19); err != nil {
		return 0, 0, err
	}

	images, err := s.prepare(o, o.images, seed<<20)
	if err != nil {
		return 0, 0, err
	}

	pushed, err = rate(ctx, o.clients, o.images, func(ctx context.Context, worker, n int) error {
		return s.push(ctx, repoOf(worker), tagOf(n), images[n])
	})
	if err != nil {
		return 0, 0, err
	}

	pulled, err = rate(ctx, o.clients, o.images, func(ctx context.Context, worker, n int) error {
		return s.pull(ctx, repoOf(worker), tagOf(n), images[n])
	})

	return pushed, pulled, err
}

// fill measures pushes to one repository that holds 100 tags, and to one that is full.
// Each push moves a tag that is there, so that their number stays.
func fill(ctx context.Context, o options, out io.Writer) error {
	few, many := make([]float64, 0, o.runs), make([]float64, 0, o.runs)

	for n := range o.runs {
		a, b, err := fewAndMany(ctx, o, uint64(n+100))
		if err != nil {
			return err
		}

		few, many = append(few, a), append(many, b)
		fmt.Fprintf(out, "run %d  push at 100 tags %7.0f/s  at %d tags %7.0f/s\n", n+1, a, o.tags, b)
	}

	fmt.Fprintf(out, "push into one repository: at 100 tags %.0f/s, at %d tags %.0f/s, ratio %.2f\n",
		median(few), o.tags, median(many), median(many)/median(few))

	return nil
}

// fewTags is the size of a repository that is not full.
const fewTags = 100

func fewAndMany(ctx context.Context, o options, seed uint64) (few, many float64, err error) {
	s, err := zotTarget("zot", o.zot, nil).open(ctx)
	if err != nil {
		return 0, 0, err
	}

	defer func() { err = errors.Join(err, s.close()) }()

	if err := s.fill(ctx, o, fewRepo, fewTags, seed<<20); err != nil {
		return 0, 0, err
	}

	if err := s.fill(ctx, o, fullRepo, o.tags, seed<<20+1<<17); err != nil {
		return 0, 0, err
	}

	if few, err = s.move(ctx, o, fewRepo, fewTags, seed<<20+1<<18); err != nil {
		return 0, 0, err
	}

	many, err = s.move(ctx, o, fullRepo, o.tags, seed<<20+1<<19)

	return few, many, err
}
