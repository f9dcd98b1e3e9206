// Command bench measures this registry beside others, and beside bare servers as the limit of
// the machine: the same work in turns, in one run. docs/performance.md says how, and what came
// of it; what is measured, and how far it should come, stands in aims.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"
)

// options are the command line.
type options struct {
	zot, distribution string // paths of the binaries
	clients           int    // requests under way at once
	runs              int    // measurements of each, of which the median counts
	duration          time.Duration
	short             bool   // a look at whether it is far slower than it was
	reports           string // directory for reports; "" = none
	bucket            bool   // on an S3 server

	bareAddr, bareDir string // be a bare server
	bareSync          bool

	scale bool // measure small and large repositories
	start bool // measure the start of a large store
	many  int  // repositories of it

	beside bool // measure small pulls beside large pushes

	gc           bool // measure what a run of GC costs
	idle         bool // of GC: nobody pushes or pulls meanwhile
	repositories int  // in the store that is collected
	seconds      int  // of load before and after GC
}

func main() {
	var o options

	flag.StringVar(&o.zot, "zot", "bin/zot", "`path` of this registry")
	flag.StringVar(&o.distribution, "distribution", "bin/tools/registry", "`path` of the other one")
	flag.IntVar(&o.clients, "clients", 16, "clients at once")
	flag.IntVar(&o.runs, "runs", 5, "measurements of each")
	flag.DurationVar(&o.duration, "duration", 3*time.Second, "of each test in each run")
	flag.BoolVar(&o.short, "short", false, "fail if a ratio is far below its aim, and leave out what takes long")
	flag.StringVar(&o.reports, "reports", "", "`directory` for the reports in JSON and HTML")
	flag.BoolVar(&o.bucket, "s3", false, "on an S3 server, versitygw")
	flag.StringVar(&o.bareAddr, "bare", "", "be a bare server at this `address`")
	flag.StringVar(&o.bareDir, "bare-dir", "", "`directory` of the bare server")
	flag.BoolVar(&o.bareSync, "bare-sync", false, "the bare server flushes blobs")
	flag.BoolVar(&o.scale, "scale", false, "small and large repositories")
	flag.BoolVar(&o.start, "start", false, "the start of a large store")
	flag.IntVar(&o.many, "many", 100_000, "with -start: repositories of 10 manifests each")
	flag.BoolVar(&o.beside, "beside", false, "small pulls while a large blob is pushed")
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
	switch {
	case o.bareAddr != "":
		return serveBare(ctx, o.bareAddr, o.bareDir, o.bareSync)
	case o.beside:
		return benchBeside(ctx, o, out)
	case o.gc:
		return benchGC(ctx, o, out)
	case o.scale:
		return benchScale(ctx, o, out)
	case o.start:
		return benchStart(ctx, o, out)
	case o.bucket:
		return benchBucket(ctx, o, out)
	}

	measure := func() error {
		c, err := compare(ctx, o, out, "zot, distribution and bare servers on a disk", aims,
			zotTarget(zotName, o.zot, nil), loginTarget(o.zot), distributionTarget(o.distribution),
			zotTarget(uncommittedName, o.zot, map[string]any{"commit": false}),
			bareTarget(bareName, false), bareTarget(bareSyncedName, true))
		if err != nil {
			return err
		}

		return o.finish(c, out, "performance")
	}

	err := measure()

	// Others may have kept the machine busy.
	for again := 0; again < 2 && errors.Is(err, errFar) && ctx.Err() == nil; again++ {
		err = measure()
	}

	return err
}

// farBelow is the share of an aim below which a short run fails.
const farBelow = 0.25

var errFar = errors.New("far below what it should be")

// finish writes the reports. A short run says whether ratios are far below the aims.
//
// Errors: errFar.
func (o options) finish(c *comparison, out io.Writer, name string) error {
	if err := c.writeText(out); err != nil {
		return err
	}

	if o.reports != "" {
		if err := c.save(o.reports, name); err != nil {
			return err
		}
	}

	if !o.short {
		return nil
	}

	var far []error

	for _, r := range c.Ratios {
		if r.Ratio > 0 && r.Ratio < r.Least*farBelow {
			far = append(far, fmt.Errorf("%w: %s, %.2f times what %s does; the aim is %g", errFar, r.Test, r.Ratio, r.To, r.Least))
		}
	}

	return errors.Join(far...)
}
