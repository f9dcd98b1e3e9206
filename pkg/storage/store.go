package storage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// Options are the settings of one image store.
type Options struct {
	Log      zerolog.Logger
	Sparse   bool             // take manifests that name what is not there
	Redirect bool             // let clients read blobs from the driver, if it can sign URLs
	Buffers  *Buffers         // memory that uploads share; nil = an own one of DefaultBuffers
	Quotas   []Quota          // what pushes may fill
	GC       GC               // what is removed, and when
	Scrub    ScrubSchedule    // when all blobs are read again
	Now      func() time.Time // nil = time.Now

	// LookAfter is how long what was seen of files is taken as still so, as long as this process
	// changes nothing itself: other programs that meddle are noticed so much later. 0 = each
	// request looks anew.
	LookAfter time.Duration

	// Passive: the store is opened to be looked at, and changes nothing by itself. What
	// lies beside the logs is not taken in.
	Passive bool

	// KeepNames: repositories that are listed and not there stay listed, so that it is noticed.
	KeepNames bool
}

// Store is one image store: a Driver, a Cache of its own, and the engine over them.
// It plays all the roles of storage.go. Its methods may be called concurrently.
type Store struct {
	driver Driver
	remote bool // what the driver says
	cache  *guardedCache
	opts   Options // but for GC, which may have changed
	policy atomic.Pointer[GC]

	stopRun atomic.Pointer[context.CancelFunc] // nil = no run of GC has begun by itself

	tasks         *tasks
	durability    *durability
	catalog       *catalog
	repos         *repos
	sessions      *sessions
	quotas        *quotas // nil = none
	placing       *keyLocks
	examining     *keyLocks
	spare         sync.Map     // digest to the key to link to where an older one takes no more links
	owed          owedPuts     // puts that the cache did not take
	cachePuts     atomic.Int64 // how many blobs the cache has taken from requests
	cacheFull     atomic.Bool  // all blobs are in the cache
	bodies        *bodies
	leases        *leases
	pulls         *pulls
	condemnations *condemnations
	surplus       map[string]time.Time // since when this process knows that memberships are, by keys
	checking      sync.Mutex           // one check, or scrub, at a time
	opened        time.Time

	figures    figures
	pace       pace
	collecting chan struct{} // of one element: who collects has it
}

// Open opens the image store that driver keeps. The store owns driver and cache from
// now on, and Close closes both; after an error the caller still owns them. ctx
// bounds the opening only.
func Open(ctx context.Context, driver Driver, cache Cache, opts Options) (*Store, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}

	if opts.Buffers == nil {
		opts.Buffers = NewBuffers(DefaultBuffers)
	}

	s := &Store{
		driver: driver, remote: driver.Remote(), opts: opts,
		tasks: newTasks(ctx), placing: newKeyLocks(), examining: newKeyLocks(), bodies: newBodies(maxBodies),
	}
	s.cache = newGuardedCache(cache, opts, &s.figures)
	s.policy.Store(&opts.GC)
	s.leases = newLeases(opts.Now)
	s.opened = opts.Now()
	s.repos = newRepos(s)
	s.quotas = newQuotas(s, opts.Quotas)
	s.pulls = newPulls(s)
	s.condemnations = newCondemnations()
	s.collecting = make(chan struct{}, 1)

	var err error
	if s.durability, err = openDurability(ctx, driver, s.tasks, opts); err != nil {
		return nil, err
	}

	if s.catalog, err = openCatalog(ctx, driver, opts.Now); err != nil {
		return nil, err
	}

	s.sessions = newSessions(driver, s.durability, opts.Now)

	if opts.Passive {
		return s, nil
	}

	s.tasks.loop(s.keepSettled)
	s.tasks.loop(s.keepCheckpoints)
	s.tasks.loop(s.keepCollected)
	s.tasks.loop(s.keepPulls)

	if opts.Scrub.Interval > 0 {
		s.tasks.loop(s.keepScrubbed)
	}

	if s.remote {
		s.tasks.loop(s.keepMarks)
	}

	if !s.remote { // a bucket has both by itself
		s.tasks.loop(s.keepCacheFilled)
		s.tasks.loop(s.keepCatalog)
		s.tasks.loop(s.endDoubt)
	}

	return s, nil
}

// Close writes checkpoints, then closes the cache and the driver. No call is under
// way. ctx bounds the writing: what is not written is in the journals.
func (s *Store) Close(ctx context.Context) error {
	s.tasks.stopLoops()

	err := errors.Join(
		s.durability.settle(ctx),
		s.durability.ended(ctx),
		s.checkpointAll(ctx),
		s.pulls.flush(ctx),
		s.sessions.closeIdle(ctx, 0),
		s.sealCache(ctx),
	)

	s.tasks.wait()
	s.repos.closeAll()

	return errors.Join(err, s.cache.Close(), s.driver.Close())
}

// How often the store looks after itself, and how often it looks for repositories
// that other programs have made.
const (
	maintainEvery = time.Second
	catalogEvery  = time.Hour
)

// keepSettled does what costs little and should not wait.
func (s *Store) keepSettled(ctx context.Context) {
	every(ctx, maintainEvery, func() {
		s.report("flush", s.durability.settleIdle(ctx))
		s.report("close idle uploads", s.sessions.closeIdle(ctx, sessionIdle))
		s.repos.evict(maxLoaded)
		s.leases.expire(s.gc().Delay)
	})
}

func (s *Store) keepCheckpoints(ctx context.Context) {
	every(ctx, maintainEvery, func() { s.report("write checkpoints", s.checkpointDue(ctx)) })
}

func (s *Store) keepCatalog(ctx context.Context) {
	s.report("rebuild the catalog", s.rebuildCatalog(ctx))
	every(ctx, catalogEvery, func() { s.report("rebuild the catalog", s.rebuildCatalog(ctx)) })
}

// every calls work again and again until ctx ends.
func every(ctx context.Context, interval time.Duration, work func()) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()

	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			work()
		}
	}
}

// report logs what went wrong in the background, where nobody waits for an answer.
func (s *Store) report(what string, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		s.opts.Log.Error().Err(err).Msg("could not " + what)
	}
}

func (s *Store) checkpointDue(ctx context.Context) error {
	return s.repos.eachChanged(ctx, func(r *repository, last time.Time) (bool, error) {
		if !r.isCovered() && !r.checkpointDue(last, s.opts.Now()) {
			return s.remote, nil // nothing comes due there by waiting
		}

		return s.checkpoint(ctx, r)
	})
}

// checkpointAll leaves nothing behind that only this process knows. A bucket has it
// already.
func (s *Store) checkpointAll(ctx context.Context) error {
	if s.remote || s.opts.Passive {
		return nil
	}

	err := s.repos.eachChanged(ctx, func(r *repository, _ time.Time) (bool, error) { return s.checkpoint(ctx, r) })
	if err != nil {
		return fmt.Errorf("write checkpoints: %w", err)
	}

	return nil
}

// checkpoint writes a checkpoint, and says whether that is done. It is later, if an
// index.json of another program may be half-written.
func (s *Store) checkpoint(ctx context.Context, r *repository) (done bool, err error) {
	err = r.checkpoint(ctx)
	if errors.Is(err, ErrConflict) {
		s.repos.noteChange(r.name)

		return false, nil
	}

	return err == nil, err
}
