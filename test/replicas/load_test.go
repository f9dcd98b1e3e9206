//go:build replicas

package replicas

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"zotregistry.io/zot/internal/wire"
)

// load is clients that push images to one repository, each under a tag of its own. Each
// has a replica that it turns to first; if that does not answer, it goes to the next.
type load struct {
	repo     string
	replicas []*replica
	seed     uint64
	total    int64       // tags at least
	enough   atomic.Bool // no more than that

	next  atomic.Int64 // tag to be pushed
	acked atomic.Int64 // how many were
	tries atomic.Int64

	mu      sync.Mutex
	digests map[string]digest.Digest // of what was acknowledged, by tag
}

// attemptLimit is how long a client waits for a replica to take an image.
const attemptLimit = 3 * time.Second

func newLoad(c *cluster, repo string, seed uint64, total int64) *load {
	return &load{repo: repo, replicas: c.replicas, seed: seed, total: total, digests: map[string]digest.Digest{}}
}

// start has n clients push, and returns what waits for them: it is called when it is
// enough.
func (l *load) start(t *testing.T, n int) (wait func() error) {
	t.Helper()

	group, ctx := errgroup.WithContext(t.Context())
	for i := range n {
		group.Go(func() error { return l.pushAll(ctx, i) })
	}

	return func() error {
		l.enough.Store(true)

		return group.Wait()
	}
}

func (l *load) pushAll(ctx context.Context, home int) error {
	for {
		n := l.next.Add(1) - 1
		if n >= l.total && l.enough.Load() {
			return nil
		}

		img, err := wire.NewImage(l.seed+uint64(n), 3000)
		if err != nil {
			return err
		}

		tag := fmt.Sprintf("tag%04d", n)
		if err := l.push(ctx, home, tag, img); err != nil {
			return fmt.Errorf("push %s: %w", tag, err)
		}

		l.mu.Lock()
		l.digests[tag] = img.Digest
		l.mu.Unlock()
		l.acked.Add(1)
	}
}

// push pushes to one replica after the other, until one has acknowledged. A 4xx is no
// answer for an image that is in order.
func (l *load) push(ctx context.Context, home int, tag string, img *wire.Image) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()

	var last error

	for n := home; ctx.Err() == nil; n++ {
		l.tries.Add(1)

		if last = l.try(ctx, l.replicas[n%len(l.replicas)], tag, img); last == nil {
			return nil
		}

		var status *wire.StatusError
		if errors.As(last, &status) && status.Status < http.StatusInternalServerError && status.Status != http.StatusTooManyRequests {
			return last
		}
	}

	return errors.Join(last, ctx.Err())
}

func (l *load) try(ctx context.Context, at *replica, tag string, img *wire.Image) error {
	ctx, cancel := context.WithTimeout(ctx, attemptLimit)
	defer cancel()

	return at.PushImage(ctx, l.repo, tag, img, (*wire.Client).PushMonolithic)
}

// verify pulls all that was acknowledged from every replica, and compares the lists.
func (l *load) verify(t *testing.T) {
	t.Helper()

	if int64(len(l.digests)) < l.total {
		t.Errorf("%d tags of %d were acknowledged", len(l.digests), l.total)
	}

	for i, r := range l.replicas {
		tags, err := r.Tags(t.Context(), l.repo)
		must(t, err)

		for tag := range l.digests {
			if !slices.Contains(tags, tag) {
				t.Errorf("replica %d does not list %s", i, tag)
			}
		}

		if len(tags) != len(l.digests) {
			t.Errorf("replica %d lists %d tags", i, len(tags))
		}

		l.pull(t, i, r)
	}
}

func (l *load) pull(t *testing.T, i int, r *replica) {
	t.Helper()

	var group errgroup.Group

	group.SetLimit(8)

	for tag, want := range l.digests {
		group.Go(func() error {
			body, err := r.PullImage(t.Context(), l.repo, tag)
			if got := digest.FromBytes(body); err != nil || got != want {
				t.Errorf("replica %d: %s is %s (%v), acknowledged was %s", i, tag, got, err, want)
			}

			return nil
		})
	}

	_ = group.Wait() // what fails has failed the test
}
