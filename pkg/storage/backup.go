package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// CopyOptions say what Copy copies, and how far it goes.
type CopyOptions struct {
	Repos []RepoName // none = all
	Exact bool       // what the target has, and the source has not, goes
	Who   string     // has done it, in the records of the target

	// AtRest: nobody pushes to the source, so a repository that it lists and that is not there
	// is lost.
	AtRest bool

	// Tell is called with what has been done so far, now and then and at the end, by one
	// goroutine at a time; nil = nobody wants to know.
	Tell func(Copied)
}

// Copied is what a copy has done.
type Copied struct {
	Repos     int   `json:"repositories"` // that are done
	Of        int   `json:"of"`           // all that are to be done
	Manifests int   `json:"manifests"`    // that are new in the target
	Tags      int   `json:"tags"`         // set
	Blobs     int   `json:"blobs"`        // sent
	Bytes     int64 `json:"bytes"`        // of blobs and manifests that were sent
	Shared    int   `json:"shared"`       // blobs that another repository of the target had
	Removed   int   `json:"removed"`      // tags and manifests that the source has not
}

// How many repositories are copied at once, and blobs of each.
const (
	copyReposAtOnce = 4
	copyBlobsAtOnce = 4
)

// Copy brings repositories of from into to: manifests, tags with the times and users that
// go with them, and blobs. What the target has is not sent again, so a copy that was
// interrupted goes on. Each repository becomes as it was at one moment after the call; both
// stores serve meanwhile, and nothing that is being copied is collected. An image that
// cannot be copied keeps no other from being so.
//
// Errors: ErrRepoUnknown, before anything is done; ErrDamaged if an image cannot be read.
func Copy(ctx context.Context, from, to *Stores, opts CopyOptions) (Copied, error) {
	t := &transfer{from: from, to: to, opts: opts, sending: newKeyLocks()}

	names, unlisted, err := t.names(ctx)
	if err != nil {
		return t.done, err
	}

	t.note(func(done *Copied) { done.Of = len(names) })

	err = errors.Join(t.each(ctx, names, t.copyRepo), unlisted)
	if err == nil && opts.Exact && len(opts.Repos) == 0 {
		err = t.dropOthers(ctx, names)
	}

	if opts.Tell != nil {
		opts.Tell(t.done)
	}

	return t.done, err
}

// transfer is a copy under way.
type transfer struct {
	from, to *Stores
	opts     CopyOptions
	sending  *keyLocks // blobs that several repositories have: one sends, the others share

	mu   sync.Mutex
	done Copied
	told time.Time // when opts.Tell was called last
}

// tellEvery is how often Tell is called at the most.
const tellEvery = 200 * time.Millisecond

// note changes what has been done.
func (t *transfer) note(change func(done *Copied)) {
	t.mu.Lock()
	defer t.mu.Unlock()

	change(&t.done)

	if t.opts.Tell != nil && time.Since(t.told) >= tellEvery {
		t.told = time.Now()
		t.opts.Tell(t.done)
	}
}

// each calls do with several repositories at once, and with all of them, whatever fails,
// until ctx ends.
func (t *transfer) each(ctx context.Context, names []RepoName, do func(context.Context, RepoName) error) error {
	var (
		group  errgroup.Group
		mu     sync.Mutex
		failed []error
	)

	group.SetLimit(copyReposAtOnce)

	for _, name := range names {
		if ctx.Err() != nil {
			break
		}

		group.Go(func() error {
			if err := do(ctx, name); err != nil && ctx.Err() == nil {
				mu.Lock()
				defer mu.Unlock()

				failed = append(failed, fmt.Errorf("%s: %w", name, err))
			}

			return nil
		})
	}

	_ = group.Wait() // no work of it fails: all is done, and all errors are told

	return errors.Join(append(failed, ctx.Err())...)
}

func (t *transfer) copyRepo(ctx context.Context, name RepoName) error {
	from, to := t.from.of(name), t.to.of(name)

	err := from.repos.with(ctx, name, from.repos.now(), func(src *repository) error {
		defer src.keep()()

		return to.repos.with(ctx, name, to.repos.now(), func(dst *repository) error {
			defer dst.keep()()

			return (&repoCopy{transfer: t, from: from, to: to, src: src, dst: dst}).run(ctx)
		})
	})
	if err == nil {
		t.note(func(done *Copied) { done.Repos++ })
	}

	return err
}

// dropOthers empties the repositories that the source does not have.
func (t *transfer) dropOthers(ctx context.Context, names []RepoName) error {
	all, _, err := t.to.ListRepos(ctx, "", -1)
	if err != nil {
		return err
	}

	slices.Sort(names)

	others := slices.DeleteFunc(all, func(name RepoName) bool {
		_, known := slices.BinarySearch(names, name)

		return known
	})

	return t.each(ctx, others, func(ctx context.Context, name RepoName) error {
		err := t.to.DeleteRepo(ctx, name, t.opts.Who)
		if errors.Is(err, ErrRepoUnknown) { // it is empty
			return nil
		}

		t.note(func(done *Copied) { done.Removed++ })

		return err
	})
}

// keep has GC leave alone all that the repository has, until done, where this process alone
// collects. In a bucket what is needed now stays for gcDelay.
func (r *repository) keep() (done func()) {
	r.copies.Add(1)

	return func() { r.copies.Add(-1) }
}

// isKept says whether somebody keeps all that the repository has.
func (r *repository) isKept() bool { return r.copies.Load() > 0 }
