package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/opencontainers/go-digest"
)

// What is pushed while others pull: as much as a large layer, by a client whose network is as
// fast as this.
const (
	largeSize = 1 << 30
	largeRate = 100 << 20 // bytes a second
)

// benchBeside measures pulls of small images while a large blob is pushed and while none is, in
// turns.
func benchBeside(ctx context.Context, o options, out io.Writer) (err error) {
	subject, err := zotTarget(zotName, o.zot, nil).open(ctx)
	if err != nil {
		return err
	}

	defer func() { err = errors.Join(err, subject.close()) }()

	b := besideBench{options: o}
	if b.warmed, err = subject.warm(ctx, o.clients); err != nil {
		return err
	}

	var rates, tails []float64

	for run := range o.runs + 1 { // the first warms up
		alone, err := b.pulls(ctx, sleepFor(largeSize/largeRate*time.Second))
		if err != nil {
			return err
		}

		dgst, err := digest.FromReader(&largeBody{seed: uint64(run)})
		if err != nil {
			return err
		}

		beside, err := b.pulls(ctx, func(ctx context.Context) error { return b.pushLarge(ctx, uint64(run), dgst) })
		if err != nil {
			return err
		}

		if run == 0 {
			continue
		}

		rates = append(rates, beside.rate/alone.rate)
		tails = append(tails, float64(beside.p99)/float64(alone.p99))

		fmt.Fprintf(out, "pulls alone %.0f/s, p99 %s; beside a push of 1 GiB at 100 MiB/s %.0f/s, p99 %s\n",
			alone.rate, alone.p99.Round(time.Millisecond/10), beside.rate, beside.p99.Round(time.Millisecond/10))
	}

	fmt.Fprintf(out, "ratios, medians of %d: rate %.2f, p99 %.1f\n", o.runs, median(rates), median(tails))

	return nil
}

type besideBench struct {
	options
	warmed
}

// pulls has all clients pull until a function returns.
func (b besideBench) pulls(ctx context.Context, until func(context.Context) error) (series, error) {
	went, err := during(ctx, b.clients, until, b.pullOne)

	return went[0], err
}

// pushLarge pushes bytes that nobody has pushed before.
func (b besideBench) pushLarge(ctx context.Context, seed uint64, dgst digest.Digest) error {
	up, err := b.client.StartUpload(ctx, "bench/large")
	if err != nil {
		return err
	}

	return up.FinishFrom(ctx, dgst, largeSize, func() io.Reader { return &largeBody{seed: seed, begun: time.Now()} })
}

// largeBody is largeSize bytes, all but the first of them zero, which come no faster than
// largeRate if it knows when it began.
type largeBody struct {
	seed  uint64
	begun time.Time
	sent  int64
}

func (l *largeBody) Read(p []byte) (int, error) {
	if l.sent == largeSize {
		return 0, io.EOF
	}

	if !l.begun.IsZero() {
		due := time.Duration(float64(l.sent) / largeRate * float64(time.Second))
		time.Sleep(time.Until(l.begun.Add(due)))
	}

	n := min(len(p), int(largeSize-l.sent))
	clear(p[:n])

	if l.sent == 0 {
		binary.LittleEndian.PutUint64(p, l.seed) // no reader asks for less at once
	}

	l.sent += int64(n)

	return n, nil
}
