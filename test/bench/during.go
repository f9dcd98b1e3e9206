package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"zotregistry.io/zot/internal/pause"
)

// work is what one worker does again and again; n is how often it has done it.
type work func(ctx context.Context, worker, n int) error

// series is how one kind of work went.
type series struct {
	rate float64 // a second
	p99  time.Duration
}

// during has some workers do each kind of work until a function returns, and returns how each
// kind went.
func during(ctx context.Context, workers int, until func(context.Context) error, kinds ...work) ([]series, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()

	var (
		group errgroup.Group
		begun = time.Now()
		took  = make([][][]time.Duration, len(kinds)) // of each kind, by each worker
	)

	for kind, do := range kinds {
		took[kind] = make([][]time.Duration, workers)

		for w := range workers {
			group.Go(func() (err error) {
				took[kind][w], err = timed(ctx, func(n int) error { return do(ctx, w, n) })

				return err
			})
		}
	}

	finished := until(ctx)
	stop()

	err := group.Wait()
	lasted := time.Since(begun)

	var all []series
	for _, workers := range took {
		all = append(all, seriesOf(slices.Concat(workers...), lasted))
	}

	return all, errors.Join(err, finished)
}

// timed does work again and again until ctx ends, and returns how long each took.
func timed(ctx context.Context, work func(n int) error) (took []time.Duration, err error) {
	for {
		begun := time.Now()
		err := work(len(took))
		lasted := time.Since(begun)

		if ctx.Err() != nil {
			return took, nil //nolint:nilerr // it failed because ctx has ended, if it did
		}

		if err != nil {
			return took, err
		}

		took = append(took, lasted)
	}
}

func seriesOf(took []time.Duration, lasted time.Duration) series {
	if len(took) == 0 {
		return series{}
	}

	slices.Sort(took)

	return series{rate: float64(len(took)) / lasted.Seconds(), p99: took[len(took)*99/100]}
}

func sleepFor(d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error { return pause.For(ctx, d) }
}

// warmed is a registry with images to be pulled.
type warmed struct {
	*subject

	images []*image
}

// warm pushes them.
func (s *subject) warm(ctx context.Context, clients int) (warmed, error) {
	const many = 100

	images, err := s.prepare(many, 1<<30)
	if err != nil {
		return warmed{}, err
	}

	err = each(ctx, clients, many, func(ctx context.Context, _, n int) error {
		return s.push(ctx, warmRepo, tagOf(n), images[n])
	})

	return warmed{s, images}, err
}

// pullOne is a work.
func (w warmed) pullOne(ctx context.Context, worker, n int) error {
	i := (worker + n) % len(w.images)

	return w.pull(ctx, warmRepo, tagOf(i), w.images[i])
}
