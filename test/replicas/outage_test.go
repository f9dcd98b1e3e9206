//go:build replicas

package replicas

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"zotregistry.io/zot/internal/servers"
	"zotregistry.io/zot/internal/wire"
)

// slowest is how long a push or pull may take while the cache is away.
const slowest = 5 * time.Second

// TestCacheAway: while Redis is halted, and while it is gone, and when it comes back
// empty, no push and no pull fails.
func TestCacheAway(t *testing.T) {
	c := newCluster(t)
	redis := servers.StartRedis(t)
	c.add(t, 2, settings{"cacheDriver": map[string]any{"name": "redis", "url": "redis://" + redis.Addr + "/0"}})

	away := outage(t)
	w := &work{replicas: c.replicas}
	wait := w.start(t, 6)

	at := func(when string) {
		t.Helper()

		before := w.done.Load()
		await(t, time.Minute, "images pushed "+when, func() bool { return w.done.Load() > before+20 })
	}

	at("with the cache")
	redis.Pause()
	pass(t, away)
	at("while the cache is halted")
	redis.Resume()
	at("when it is back")
	redis.Stop()
	pass(t, away)
	at("while the cache is gone")
	redis.Start()
	at("when it is back, empty")
	must(t, wait())

	t.Logf("%d images pushed and pulled; the cache was away for twice %s; the slowest took %s",
		w.done.Load(), away, time.Duration(w.worst.Load()).Round(time.Millisecond))

	if worst := time.Duration(w.worst.Load()); worst > slowest {
		t.Errorf("an image took %s", worst)
	}
}

// work is clients that push and pull and tolerate no failure.
type work struct {
	replicas []*replica

	enough atomic.Bool
	done   atomic.Int64 // images that were pushed and pulled
	worst  atomic.Int64 // nanoseconds that one took
}

// start has n clients work, and returns what ends it and waits for them.
func (w *work) start(t *testing.T, n int) (wait func() error) {
	t.Helper()

	group, ctx := errgroup.WithContext(t.Context())

	for i := range n {
		group.Go(func() error {
			for k := 0; !w.enough.Load(); k++ {
				if err := w.once(ctx, i, k); err != nil {
					return err
				}
			}

			return nil
		})
	}

	return func() error {
		w.enough.Store(true)

		return group.Wait()
	}
}

// once pushes an image at one replica, and its blobs once more into another repository,
// which the cache is there for; then it pulls both from the other replica.
func (w *work) once(ctx context.Context, i, k int) error {
	img, err := wire.NewImage(uint64(i*1_000_000+k), 4000, 80_000)
	if err != nil {
		return err
	}

	begun := time.Now()
	pusher, puller := w.replicas[(i+k)%2], w.replicas[(i+k+1)%2]

	for _, repo := range []string{fmt.Sprint("away/", i), fmt.Sprint("away/again/", i)} {
		if err := pusher.PushImage(ctx, repo, fmt.Sprint("tag", k), img, (*wire.Client).PushMonolithic); err != nil {
			return err
		}

		body, err := puller.PullImage(ctx, repo, fmt.Sprint("tag", k))
		if err != nil {
			return err
		}

		if got := digest.FromBytes(body); got != img.Digest {
			return fmt.Errorf("%s: pulled %s, pushed %s", repo, got, img.Digest)
		}
	}

	w.done.Add(1)

	for took := time.Since(begun).Nanoseconds(); ; {
		worst := w.worst.Load()
		if took <= worst || w.worst.CompareAndSwap(worst, took) {
			return nil
		}
	}
}
