package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"zotregistry.io/zot/internal/wire"
	"zotregistry.io/zot/internal/zb"
)

// fullRepo is the one repository of a full store.
const fullRepo = "scale/full"

// fullStores are what is compared: one repository each. The first is what the others should be
// as fast as.
var fullStores = []struct{ manifests, tags int }{
	{100, 100}, {1_000, 1_000}, {10_000, 10_000}, {100_000, 100_000}, {1_000, 1_000_000},
}

// full is a server with a full repository.
type full struct {
	*subject

	manifests, tags int
	adopted, loaded time.Duration // the first request, on what others have written, and after a restart
	rss             int64         // after that, in bytes
	pushed          *atomic.Uint64

	pushes, pulls []float64 // images a second, in each run
}

// benchScale measures repositories from small to large in turns, and the start of a large store.
func benchScale(ctx context.Context, o options, out io.Writer) (err error) {
	var (
		all    []*full
		pushed atomic.Uint64
	)

	defer func() {
		for _, f := range all {
			err = errors.Join(err, f.close())
		}
	}()

	for _, of := range fullStores {
		f := &full{manifests: of.manifests, tags: of.tags, pushed: &pushed}
		if err := f.fill(ctx, o); err != nil {
			return fmt.Errorf("%d manifests, %d tags: %w", of.manifests, of.tags, err)
		}

		all = append(all, f)
		fmt.Fprintf(out, "%d manifests, %d tags: first request %.1fs on what others have written, %.2fs after a restart; then %d MiB\n",
			f.manifests, f.tags, f.adopted.Seconds(), f.loaded.Seconds(), f.rss>>20)
	}

	for range o.runs {
		for _, f := range all {
			if err := f.measure(ctx, o); err != nil {
				return err
			}
		}
	}

	for _, f := range all {
		page, err := f.cpuOfPage(ctx, func(ctx context.Context) error {
			_, err := f.client.TagsPage(ctx, fullRepo, 100, tagOf(rand.IntN(f.tags))) //nolint:gosec // which page does not matter

			return err
		})
		if err != nil {
			return err
		}

		fmt.Fprintf(out, "%d manifests, %d tags: push %.0f/s (%.2f), pull %.0f/s (%.2f); a page of 100 tags takes %.2f ms of CPU\n",
			f.manifests, f.tags, median(f.pushes), median(f.pushes)/median(all[0].pushes),
			median(f.pulls), median(f.pulls)/median(all[0].pulls), page.Seconds()*1000)
	}

	small, large := all[1], all[len(all)-1]
	fmt.Fprintf(out, "memory of a tag: %d bytes\n", (large.rss-small.rss)/int64(large.tags-small.tags))

	return nil
}

// fill makes the repository and starts the server twice.
func (f *full) fill(ctx context.Context, o options) (err error) {
	if f.subject, err = zotTarget(zotName, o.zot, nil).open(ctx); err != nil {
		return err
	}

	if err := f.write(ctx, filepath.Join(f.dir, "data", fullRepo)); err != nil {
		return err
	}

	if f.adopted, err = f.first(ctx, fullRepo); err != nil {
		return err
	}

	if err := errors.Join(f.daemon.Stop(), f.reopen(ctx)); err != nil {
		return err
	}

	if f.loaded, err = f.first(ctx, fullRepo); err != nil {
		return err
	}

	time.Sleep(2 * time.Second) // what the reading has taken is given back

	f.rss, err = statusOf(f.daemon.PID(), "VmRSS:")

	return err
}

// write writes the repository as an OCI layout. The n-th tag points to a manifest in turns.
func (f *full) write(ctx context.Context, dir string) error {
	l, err := newLayout(dir)
	if err != nil {
		return err
	}

	images := make([]*wire.Image, f.manifests)

	err = each(ctx, 4, f.manifests, func(_ context.Context, _, n int) (err error) {
		images[n], err = l.image(uint64(n))

		return err
	})
	if err != nil {
		return err
	}

	return l.index(f.tags, func(n int) *wire.Image { return images[n%len(images)] })
}

// first is how long the first request for a repository takes.
func (s *subject) first(ctx context.Context, repo string) (time.Duration, error) {
	begun := time.Now()
	_, _, err := s.client.Manifest(ctx, repo, tagOf(0))

	return time.Since(begun), err
}

// measure moves tags to new images, and pulls.
func (f *full) measure(ctx context.Context, o options) error {
	pushed, err := perSecond(ctx, o, func(ctx context.Context) error {
		n := f.pushed.Add(1)

		images, err := f.prepare(1, 1<<31+n)
		if err != nil {
			return err
		}

		return f.subject.push(ctx, fullRepo, tagOf(int(n*7919)%f.tags), images[0])
	})
	if err != nil {
		return err
	}

	pulled, err := perSecond(ctx, o, func(ctx context.Context) error {
		_, err := f.client.PullImage(ctx, fullRepo, tagOf(rand.IntN(f.tags))) //nolint:gosec // which tag does not matter

		return err
	})

	f.pushes, f.pulls = append(f.pushes, pushed), append(f.pulls, pulled)

	return err
}

// perSecond has all clients do work for a while, and returns how often it was done.
func perSecond(ctx context.Context, o options, work func(context.Context) error) (float64, error) {
	var (
		group errgroup.Group
		done  atomic.Int64
		begun = time.Now()
	)

	for range o.clients {
		group.Go(func() error {
			for time.Since(begun) < o.duration {
				if err := work(ctx); err != nil {
					return err
				}

				done.Add(1)
			}

			return nil
		})
	}

	err := group.Wait()

	return float64(done.Load()) / time.Since(begun).Seconds(), err
}

// cpuOfPage is the CPU time of the server for one of some requests.
func (s *subject) cpuOfPage(ctx context.Context, ask func(context.Context) error) (time.Duration, error) {
	const requests = 1000

	before, err := zb.CPUOf(s.daemon.PID())
	if err != nil {
		return 0, err
	}

	for range requests {
		if err := ask(ctx); err != nil {
			return 0, err
		}
	}

	after, err := zb.CPUOf(s.daemon.PID())

	return (after - before) / requests, err
}
