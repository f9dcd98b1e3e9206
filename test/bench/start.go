package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"time"

	"zotregistry.io/zot/internal/wire"
)

// benchStart measures the start of a store of many repositories.
func benchStart(ctx context.Context, o options, out io.Writer) (err error) {
	s, err := zotTarget(zotName, o.zot, nil).open(ctx)
	if err != nil {
		return err
	}

	defer func() { err = errors.Join(err, s.close()) }()

	if err := s.daemon.Stop(); err != nil {
		return err
	}

	begun := time.Now()
	root := filepath.Join(s.dir, "data")

	if err := writeMany(ctx, root, o.many); err != nil {
		return err
	}

	fmt.Fprintf(out, "%d repositories of %d manifests, made in %.0fs\n", o.many, manifestsOfMany, time.Since(begun).Seconds())

	for _, when := range []string{"as others have left them", "after that", "once more"} {
		if err := s.start(ctx, out, o.many, when); err != nil {
			return err
		}

		if err := s.daemon.Stop(); err != nil {
			return err
		}
	}

	return nil
}

// resting is how long a server is left alone before its memory is looked at.
const resting = 15 * time.Second

func (s *subject) start(ctx context.Context, out io.Writer, repositories int, when string) error {
	begun := time.Now()

	if err := s.reopen(ctx); err != nil {
		return err
	}

	ready, err := s.ready(ctx, begun)
	if err != nil {
		return err
	}

	first, err := s.first(ctx, manyName(repositories/2))
	if err != nil {
		return err
	}

	time.Sleep(resting)

	rss, err := statusOf(s.daemon.PID(), "VmRSS:")
	if err != nil {
		return err
	}

	page, err := s.cpuOfPage(ctx, func(ctx context.Context) error {
		from := rand.IntN(repositories/1000)*1000 + rand.IntN(900) //nolint:gosec // which page does not matter; behind it are 100 at the least

		names, err := s.client.CatalogPage(ctx, 100, manyName(from))
		if err == nil && len(names) != 100 {
			err = fmt.Errorf("a page of the catalog has %d names", len(names))
		}

		return err
	})
	if err != nil {
		return err
	}

	fmt.Fprintf(out, "start %s: ready after %.2fs, first request %.3fs, %d MiB at rest; a page of 100 repositories takes %.2f ms of CPU\n",
		when, ready.Seconds(), first.Seconds(), rss>>20, page.Seconds()*1000)

	return nil
}

// ready waits until the server says so, and returns when that was.
func (s *subject) ready(ctx context.Context, begun time.Time) (time.Duration, error) {
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.daemon.Addr+"/readyz", nil)
		if err != nil {
			return 0, err
		}

		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err
		}

		if err := resp.Body.Close(); err != nil {
			return 0, err
		}

		if resp.StatusCode == http.StatusOK {
			return time.Since(begun), nil
		}

		time.Sleep(time.Millisecond)
	}
}

// manifestsOfMany is how many manifests each of many repositories has.
const manifestsOfMany = 10

func manyName(n int) string { return fmt.Sprintf("many/g%03d/r%06d", n%1000, n) }

// writeMany writes repositories as OCI layouts whose images share their blobs by hard links.
func writeMany(ctx context.Context, root string, repositories int) error {
	return each(ctx, 4, repositories, func(_ context.Context, _, n int) error {
		l, err := newLayout(filepath.Join(root, manyName(n)))
		if err != nil {
			return err
		}

		images := make([]*wire.Image, manifestsOfMany)
		for i := range images {
			if images[i], err = l.image(uint64(n*manifestsOfMany + i)); err != nil {
				return err
			}
		}

		return l.index(manifestsOfMany, func(i int) *wire.Image { return images[i] })
	})
}
