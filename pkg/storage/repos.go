package storage

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// maxLoaded is how many bytes of memory repositories may take before idle ones are
// let go.
const maxLoaded = 256 << 20

// repos holds the repositories that are in memory. One is loaded when it is first
// used; it stays while it is in use, and as long as there is room.
type repos struct {
	store *Store

	mu     sync.Mutex
	loaded map[RepoName]*place
	used   int64 // a clock of uses

	// changed is when a repository was last committed to since its checkpoint.
	changed map[RepoName]time.Time
}

func newRepos(store *Store) *repos {
	return &repos{store: store, loaded: map[RepoName]*place{}, changed: map[RepoName]time.Time{}}
}

// place is where a repository is, or is being loaded.
type place struct {
	ready chan struct{} // closed when repo or err is set
	repo  *repository
	err   error
	users int
	last  int64
	asked bool      // for by a request; else it is not kept when it is left
	left  time.Time // when the last of users left
}

// Staleness is how old the state may be from which a replica answers what holds for a
// while anyway: whether a blob is there, or a manifest by its digest. Tags and lists are
// never older than the request.
const Staleness = 4 * time.Second

// now is for with: nothing older than the request will do.
func (rs *repos) now() time.Time { return rs.store.opts.Now() }

// recent is for with: what was so a moment ago will do.
func (rs *repos) recent() time.Time { return rs.now().Add(-Staleness) }

// known calls use with the repository as it was a moment ago. Where that does not know
// what use asks for, or a condition does not hold, another replica may have changed it:
// use is called again, with what is there now. A condition that did hold needs no second
// look: the append fails if somebody was first.
func (rs *repos) known(ctx context.Context, name RepoName, use func(*repository) error) error {
	err := rs.with(ctx, name, rs.recent(), use)
	if !rs.store.remote || !mayHaveChanged(err) {
		return err
	}

	return rs.with(ctx, name, rs.now(), use)
}

func mayHaveChanged(err error) bool {
	var missing *MissingError

	return errors.Is(err, ErrManifestUnknown) || errors.Is(err, ErrRepoUnknown) || errors.Is(err, ErrPrecondition) ||
		errors.Is(err, ErrTagChange) || errors.As(err, &missing)
}

// with calls use with the repository, loaded, as it was at since or later. The
// repository is valid only until use returns.
func (rs *repos) with(ctx context.Context, name RepoName, since time.Time, use func(*repository) error) error {
	rs.store.pace.request()

	return rs.enterWith(ctx, name, since, true, use)
}

// background is with for work that nobody waits for. What it alone has loaded it does not
// leave in memory.
func (rs *repos) background(ctx context.Context, name RepoName, since time.Time, use func(*repository) error) error {
	return rs.enterWith(ctx, name, since, false, use)
}

func (rs *repos) enterWith(
	ctx context.Context, name RepoName, since time.Time, asked bool, use func(*repository) error,
) error {
	p := rs.enter(name, asked)
	defer rs.leave(name, p)

	err := p.wait(ctx)
	if errors.Is(err, errShut) {
		return rs.enterWith(ctx, name, since, asked, use)
	}

	if err != nil {
		return err
	}

	if err := p.repo.look(ctx, since); err != nil {
		return err
	}

	return use(p.repo)
}

// wait returns when a repository is loaded, or cannot be.
func (p *place) wait(ctx context.Context) error {
	select {
	case <-p.ready:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errShut is the error of a place that was shut for a while.
var errShut = errors.New("shut")

// alone calls use with a repository while nobody else uses it; who comes meanwhile waits.
// A repository of which use says that it is gone is let go of. Where somebody uses it, use
// is not called.
func (rs *repos) alone(ctx context.Context, name RepoName, use func(*repository) (gone bool, err error)) (gone bool, err error) {
	p := rs.enter(name, false)
	defer rs.leave(name, p)

	if err := p.wait(ctx); err != nil {
		return false, err
	}

	shut := &place{ready: make(chan struct{}), err: errShut, users: 1}

	if !rs.replace(name, p, shut) {
		return false, nil
	}

	gone, err = use(p.repo)

	rs.mu.Lock()
	defer rs.mu.Unlock()

	rs.loaded[name] = p

	if gone {
		delete(rs.changed, name)
		rs.drop(name, p)
	}

	close(shut.ready)

	return gone, err
}

// exclusively calls use while nobody has the repository loaded; who comes meanwhile waits.
func (rs *repos) exclusively(ctx context.Context, name RepoName, use func() error) error {
	shut := &place{ready: make(chan struct{}), err: errShut, users: 1}

	for !rs.shut(name, shut) {
		select {
		case <-time.After(pinPoll):
		case <-ctx.Done():
			return ctx.Err()
		}
	}

	defer func() {
		rs.mu.Lock()
		defer rs.mu.Unlock()

		delete(rs.loaded, name)
		close(shut.ready)
	}()

	return use()
}

// shut puts a place where nobody is. It does not where somebody uses the repository.
func (rs *repos) shut(name RepoName, shut *place) bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()

	if p, ok := rs.loaded[name]; ok {
		if !p.isReady() || p.users > 0 && p.err == nil {
			return false
		}

		rs.drop(name, p)
	}

	rs.loaded[name] = shut

	return true
}

// replace puts next where p is, unless somebody else uses p.
func (rs *repos) replace(name RepoName, p, next *place) bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()

	if rs.loaded[name] != p || p.users > 1 {
		return false
	}

	rs.loaded[name] = next

	return true
}

func (rs *repos) enter(name RepoName, asked bool) *place {
	rs.mu.Lock()
	defer rs.mu.Unlock()

	p, ok := rs.loaded[name]
	if !ok || p.isReady() && p.err != nil { // try again, even if someone still looks at the error
		p = &place{ready: make(chan struct{}), users: 1} // the loader is one
		rs.loaded[name] = p
		rs.store.tasks.run(func() { rs.load(name, p) })
	}

	rs.used++
	p.last = rs.used
	p.users++
	p.asked = p.asked || asked

	return p
}

func (rs *repos) load(name RepoName, p *place) {
	p.repo, p.err = openRepo(context.Background(), rs.store, name) // it serves many callers
	rs.leave(name, p)                                              // before others go on: one of them may want to be alone
	close(p.ready)

	if p.err == nil && p.repo.visible.Load().weight() > muchLoaded {
		debug.FreeOSMemory() // what was read is several times as large as what is kept of it
	}
}

// muchLoaded is from how many bytes on a repository's loading leaves much behind.
const muchLoaded = 32 << 20

// leave ends a use. What could not be loaded, or does not exist, is not kept: names
// that someone makes up must not fill the memory. In a bucket asking again has its
// price, and a first push asks again and again: there evict drops it, soon. What background
// work alone has loaded is not kept either.
func (rs *repos) leave(name RepoName, p *place) {
	rs.mu.Lock()
	defer rs.mu.Unlock()

	p.users--

	if p.users > 0 {
		return
	}

	p.left = rs.now()

	_, changed := rs.changed[name] // it is to be looked at again soon

	if p.err != nil || !rs.store.remote && (!p.asked && !changed || !p.repo.visible.Load().exists()) {
		rs.drop(name, p)
	}
}

func (p *place) isReady() bool {
	select {
	case <-p.ready:
		return true
	default:
		return false
	}
}

// drop lets go of a repository that nobody uses. Its log is the truth, so nothing
// has to be written. rs.mu is held.
func (rs *repos) drop(name RepoName, p *place) {
	if rs.loaded[name] == p {
		delete(rs.loaded, name)
	}

	if p.repo == nil {
		return
	}

	if err := p.repo.close(); err != nil {
		rs.store.opts.Log.Warn().Err(err).Str("repository", string(name)).Msg("close log")
	}
}

// evict lets go of the repositories that were unused for longest until the rest
// fits into limit bytes.
func (rs *repos) evict(limit int64) {
	rs.mu.Lock()
	defer rs.mu.Unlock()

	total := int64(0)
	idle := map[RepoName]*place{}

	for name, p := range rs.loaded {
		if !p.isReady() || p.repo == nil {
			continue
		}

		if p.users == 0 && !p.repo.visible.Load().exists() && p.left.Before(rs.recent()) {
			rs.drop(name, p)

			continue
		}

		total += p.repo.visible.Load().weight()

		if p.users == 0 {
			idle[name] = p
		}
	}

	for _, name := range slices.SortedFunc(maps.Keys(idle), func(a, b RepoName) int {
		return cmp.Compare(idle[a].last, idle[b].last)
	}) {
		if total <= limit {
			return
		}

		total -= idle[name].repo.visible.Load().weight()
		rs.drop(name, idle[name])
	}
}

// noteChange remembers that a repository was committed to.
func (rs *repos) noteChange(name RepoName) {
	rs.mu.Lock()
	defer rs.mu.Unlock()

	rs.changed[name] = rs.store.opts.Now()
}

// checkpointsAtOnce is how many repositories eachChanged is in at once: they share
// flushes.
const checkpointsAtOnce = 8

// eachChanged calls use, concurrently, with every repository that was noted, and
// when. It is forgotten where use says that it is done, and noted anew where that
// failed.
func (rs *repos) eachChanged(ctx context.Context, use func(r *repository, last time.Time) (done bool, err error)) error {
	rs.mu.Lock()
	changed := maps.Clone(rs.changed)
	rs.mu.Unlock()

	var (
		group  errgroup.Group
		mu     sync.Mutex
		failed []error
	)

	group.SetLimit(checkpointsAtOnce)

	for name, last := range changed {
		group.Go(func() error {
			err := rs.background(ctx, name, time.Time{}, func(r *repository) error {
				done, err := use(r, last)
				if done && err == nil {
					rs.forgetChange(name, last)
				}

				return err
			})
			if err != nil {
				rs.noteChange(name) // later again

				mu.Lock()
				defer mu.Unlock()

				failed = append(failed, err)
			}

			return nil
		})
	}

	_ = group.Wait() // no work of it fails: all is done, and all errors are told

	return errors.Join(failed...)
}

func (rs *repos) forgetChange(name RepoName, last time.Time) {
	rs.mu.Lock()
	defer rs.mu.Unlock()

	if rs.changed[name].Equal(last) {
		delete(rs.changed, name)
	}
}

// closeAll lets go of all. No call is under way.
func (rs *repos) closeAll() {
	rs.mu.Lock()
	defer rs.mu.Unlock()

	for name, p := range rs.loaded {
		rs.drop(name, p)
	}
}
