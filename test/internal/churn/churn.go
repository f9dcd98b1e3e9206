// Package churn is clients that push, push again, mount, tag, delete and pull, all at
// once, and a model of what the registry has acknowledged to them. What the model says is
// there must be there, byte for byte, and what it says is deleted must not.
package churn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"zotregistry.io/zot/internal/wire"
)

// Options say what clients there are.
type Options struct {
	Seed    uint64        // the same seed: the same images, asked for in the same order
	Workers int           // clients
	Repos   int           // repositories that they share
	Images  int           // of each client; with few of them each comes and goes all the time
	Thinned int           // of the repositories: in the first ones retention removes what has no tag
	Lease   time.Duration // for which an answer about a blob counts; 0 = without end
	Stale   time.Duration // for which another replica may not have noticed a deletion
}

// Fleet is clients of one registry. Run, Verify and the others are called one at a time.
type Fleet struct {
	opts    Options
	workers []*worker
	clients []*wire.Client
}

// New makes clients that turn to any of the replicas at addrs. Close it.
func New(opts Options, addrs ...string) (*Fleet, error) {
	f := &Fleet{opts: opts}
	for _, addr := range addrs {
		f.clients = append(f.clients, wire.New(addr))
	}

	shared := sharedLayers(opts)

	for n := range opts.Workers {
		stock, err := newStock(opts, n, shared)
		if err != nil {
			return nil, err
		}

		f.workers = append(f.workers, &worker{
			opts:    opts,
			name:    fmt.Sprintf("w%d", n),
			repo:    repoOf(n % opts.Repos),
			other:   repoOf((n + 1) % opts.Repos),
			thinned: n%opts.Repos < opts.Thinned,
			clients: f.clients,
			rng:     rand.New(rand.NewPCG(opts.Seed, uint64(n))),
			stock:   stock,
			model:   newModel(stock.children),
			done:    map[string]int{},
		})
	}

	return f, nil
}

func repoOf(n int) string { return fmt.Sprintf("churn/repo%d", n) }

// Retention has manifests without a tag go in the first repositories, and stay in all others.
func Retention(thinned int) map[string]any {
	var policies []any
	for n := range thinned {
		policies = append(policies, map[string]any{"repositories": []string{repoOf(n)}, "deleteUntagged": true})
	}

	return map[string]any{
		"policies": append(policies, map[string]any{"repositories": []string{"**"}, "deleteUntagged": false}),
	}
}

// Close drops idle connections.
func (f *Fleet) Close() {
	for _, c := range f.clients {
		c.Close()
	}
}

// Run has all clients work until enough is closed, or something goes wrong; then the others
// end, too. It returns what went wrong, but for what is expected (nil = nothing is).
func (f *Fleet) Run(ctx context.Context, enough <-chan struct{}, expected func(error) bool) error {
	stop := make(chan struct{})

	var end sync.Once

	return f.each(func(w *worker) error {
		defer end.Do(func() { close(stop) })

		err := w.run(ctx, enough, stop)
		if err != nil && expected != nil && expected(err) {
			return nil
		}

		return err
	})
}

// Disconnected says whether a request was not answered, or not to the end: what is to be
// expected of a server that is killed.
func Disconnected(err error) bool {
	var (
		request *url.Error
		conn    *net.OpError
	)

	return errors.As(err, &request) || errors.As(err, &conn) || errors.Is(err, io.ErrUnexpectedEOF)
}

// Refused says whether a request was not answered, or with an error: what is to be expected of
// a server whose disk fails.
func Refused(err error) bool {
	var status *wire.StatusError

	return Disconnected(err) || errors.As(err, &status)
}

// ServerFailed says whether the server is at fault, and says so, or did not answer.
func ServerFailed(err error) bool {
	var status *wire.StatusError

	return Disconnected(err) || errors.As(err, &status) && status.Status >= http.StatusInternalServerError
}

// Verify holds what is served against what was acknowledged. Requests that were never
// answered happened whole, or not at all. The process must have ended that they were sent to.
func (f *Fleet) Verify(ctx context.Context) error {
	return f.each(func(w *worker) error { return w.verify(ctx) })
}

// PowerFailed says that uploads that are under way may be shorter, or gone.
func (f *Fleet) PowerFailed() {
	for _, w := range f.workers {
		w.powerFailed()
	}
}

// Tidy ends the uploads that are under way.
func (f *Fleet) Tidy(ctx context.Context) error {
	return f.each(func(w *worker) error { return w.tidy(ctx) })
}

// DeleteAll deletes every manifest there is.
func (f *Fleet) DeleteAll(ctx context.Context) error {
	return f.each(func(w *worker) error { return w.deleteAll(ctx) })
}

func (f *Fleet) each(do func(*worker) error) error {
	failed := make([]error, len(f.workers))

	var group sync.WaitGroup

	for n, w := range f.workers {
		group.Go(func() {
			if err := do(w); err != nil {
				failed[n] = fmt.Errorf("%s in %s: %w", w.name, w.repo, err)
			}
		})
	}

	group.Wait()

	return errors.Join(failed...)
}

// Needed lists the blobs and manifests that have to be there, as keys:
// <repository>/blobs/<algorithm>/<hex>.
func (f *Fleet) Needed() map[string]bool {
	needed := map[string]bool{}
	for _, w := range f.workers {
		w.addNeeded(needed)
	}

	return needed
}

// Done counts the operations that were acknowledged, by kind.
func (f *Fleet) Done() map[string]int {
	all := map[string]int{}

	for _, w := range f.workers {
		for kind, n := range w.done {
			all[kind] += n
		}
	}

	return all
}

// Total is how many operations were acknowledged.
func (f *Fleet) Total() int {
	total := 0
	for _, n := range f.Done() {
		total += n
	}

	return total
}

// Report is Done in words.
func (f *Fleet) Report() string {
	all := f.Done()
	text := fmt.Sprintf("%d operations:", f.Total())

	for _, kind := range slices.Sorted(maps.Keys(all)) {
		text += fmt.Sprintf(" %s %d,", kind, all[kind])
	}

	return text[:len(text)-1]
}
