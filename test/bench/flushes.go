package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// flushing is how long the disk's flushes are counted.
const flushing = 500 * time.Millisecond

// flushRates is how many flushes of 4 KB a second the disk does, for one writer and for
// sixteen, each with a file of its own: no push can be faster that is on disk when it is
// answered, but for those that share a flush.
func flushRates(ctx context.Context) (_ map[string]float64, err error) {
	dir, err := os.MkdirTemp("", "bench-flush")
	if err != nil {
		return nil, err
	}

	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	rates := map[string]float64{}

	for _, writers := range []int{1, 16} {
		counts := make([]int, writers)
		group, ctx := errgroup.WithContext(ctx)
		begun := time.Now()

		for w := range writers {
			group.Go(func() (err error) {
				counts[w], err = flush(ctx, filepath.Join(dir, fmt.Sprint(writers, "-", w)), begun.Add(flushing))

				return err
			})
		}

		if err := group.Wait(); err != nil {
			return nil, err
		}

		sum := 0
		for _, n := range counts {
			sum += n
		}

		rates[fmt.Sprint(writers)] = float64(sum) / time.Since(begun).Seconds()
	}

	return rates, nil
}

func flush(ctx context.Context, path string, until time.Time) (n int, err error) {
	file, err := os.Create(path)
	if err != nil {
		return 0, err
	}

	defer func() { err = errors.Join(err, file.Close()) }()

	page := make([]byte, 4096)

	for ; time.Now().Before(until) && ctx.Err() == nil; n++ {
		if _, err := file.Write(page); err != nil {
			return n, err
		}

		if err := unix.Fdatasync(int(file.Fd())); err != nil {
			return n, err
		}
	}

	return n, ctx.Err()
}
