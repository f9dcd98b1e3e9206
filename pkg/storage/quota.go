package storage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Quota bounds what the repositories of a prefix may hold (docs/limits.md).
type Quota struct {
	Prefix       RepoName // the repository of that name and all below it; "" = all of the store
	Bytes        int64    // 0 = no bound
	Repositories int64    // 0 = no bound
}

// covers says whether a repository counts.
func (q Quota) covers(name RepoName) bool {
	below, ok := strings.CutPrefix(string(name), string(q.Prefix))

	return ok && (q.Prefix == "" || below == "" || below[0] == '/')
}

// admits says whether more fits beside what is used. To add nothing is always allowed.
//
// Errors: *QuotaError.
func (q Quota) admits(used, more usage) error {
	if q.Bytes > 0 && more.bytes > 0 && more.bytes > q.Bytes-used.bytes {
		return &QuotaError{Prefix: q.Prefix, Unit: "bytes", Limit: q.Bytes, Used: used.bytes, Asked: more.bytes}
	}

	if q.Repositories > 0 && more.repos > 0 && more.repos > q.Repositories-used.repos {
		return &QuotaError{Prefix: q.Prefix, Unit: "repositories", Limit: q.Repositories, Used: used.repos, Asked: more.repos}
	}

	return nil
}

// usage is what counts: the sizes of the manifests of a repository and of all that they name,
// each once, and the repository if it has a manifest.
type usage struct{ bytes, repos int64 }

func (s *state) usage() usage {
	if s.manifests.Len() == 0 {
		return usage{}
	}

	return usage{bytes: s.used, repos: 1}
}

func (u usage) plus(v usage) usage { return usage{u.bytes + v.bytes, u.repos + v.repos} }

func (u usage) minus(v usage) usage { return usage{u.bytes - v.bytes, u.repos - v.repos} }

// tally is what a repository counts.
type tally struct {
	seq  uint64 // of the newest state that is known
	have usage  // by that
	held usage  // what a batch that is being appended may add
}

// quotas keep the usage of prefixes. It changes with the states of repositories; a batch that
// is being appended counts by what it adds until it is known how it ended, and by what it
// removes from then on. So what is durable is never more than what is counted. nil is no quota.
// Methods may be called concurrently.
type quotas struct {
	store    *Store
	limits   []Quota
	counting chan struct{} // of one element: who counts has it, and asOf
	asOf     []time.Time   // since when the usage of a limit is known

	mu    sync.Mutex // guards the fields below
	repos map[RepoName]tally
	used  []usage // of each limit
}

func newQuotas(store *Store, limits []Quota) *quotas {
	if len(limits) == 0 {
		return nil
	}

	return &quotas{
		store: store, limits: limits, counting: make(chan struct{}, 1), asOf: make([]time.Time, len(limits)),
		repos: map[RepoName]tally{}, used: make([]usage, len(limits)),
	}
}

// cover says whether a repository counts for any quota.
func (q *quotas) cover(name RepoName) bool {
	if q == nil {
		return false
	}

	for _, limit := range q.limits {
		if limit.covers(name) {
			return true
		}
	}

	return false
}

// reserve counts what a repository has in a state that is about to be appended. If it does not
// fit, nothing is counted, unless it is forced.
//
// Errors: *QuotaError.
func (q *quotas) reserve(name RepoName, next *state, force bool) error {
	if !q.cover(name) {
		return nil
	}

	q.mu.Lock()
	defer q.mu.Unlock()

	t := q.repos[name]
	more := next.usage().minus(t.have.plus(t.held))
	more = usage{max(0, more.bytes), max(0, more.repos)}

	for i, limit := range q.limits {
		if !limit.covers(name) || force {
			continue
		}

		if err := limit.admits(q.used[i], more); err != nil {
			return err
		}
	}

	t.held = t.held.plus(more)
	q.put(name, t)

	return nil
}

// settle ends what was reserved: st is what has come of it.
func (q *quotas) settle(name RepoName, st *state) {
	q.change(name, func(t tally) tally {
		t.held = usage{}

		return t.newer(st)
	})
}

// observe counts a state that is visible, unless a newer one is known.
func (q *quotas) observe(name RepoName, st *state) {
	q.change(name, func(t tally) tally { return t.newer(st) })
}

// opened counts a repository that was loaded, whatever was known: one that was removed begins
// anew. Nothing of it is being appended.
func (q *quotas) opened(name RepoName, st *state) {
	q.change(name, func(tally) tally { return tally{}.newer(st) })
}

// newer is the tally once a state is known, unless a newer one is.
func (t tally) newer(st *state) tally {
	if st.seq >= t.seq {
		t.seq, t.have = st.seq, st.usage()
	}

	return t
}

// change replaces the tally of a repository that counts.
func (q *quotas) change(name RepoName, next func(tally) tally) {
	if !q.cover(name) {
		return
	}

	q.mu.Lock()
	defer q.mu.Unlock()

	q.put(name, next(q.repos[name]))
}

// put sets a tally. Of what does not exist nothing is kept. q.mu is held.
func (q *quotas) put(name RepoName, t tally) {
	old := q.repos[name]
	change := t.have.plus(t.held).minus(old.have.plus(old.held))

	for i, limit := range q.limits {
		if limit.covers(name) {
			q.used[i] = q.used[i].plus(change)
		}
	}

	if t == (tally{}) {
		delete(q.repos, name)
	} else {
		q.repos[name] = t
	}
}

// How long a usage may be known: in a bucket others commit as well; in a directory other
// programs make repositories.
const (
	quotaRemote = 10 * time.Second
	quotaLocal  = time.Minute
)

// ready returns when the usage of all quotas that cover a repository is known. It is called
// before a commit, and not while one waits for it.
func (q *quotas) ready(ctx context.Context, name RepoName) error {
	if !q.cover(name) {
		return nil
	}

	select {
	case q.counting <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}

	defer func() { <-q.counting }()

	life := quotaLocal
	if q.store.remote {
		life = quotaRemote
	}

	for i, limit := range q.limits {
		now := q.store.opts.Now()
		if !limit.covers(name) || !q.asOf[i].IsZero() && now.Sub(q.asOf[i]) < life {
			continue
		}

		if err := q.count(ctx, limit); err != nil {
			return fmt.Errorf("count for the quota of %q: %w", limit.Prefix, err)
		}

		q.asOf[i] = now
	}

	return nil
}

// countsAtOnce is how many repositories are looked at at once.
const countsAtOnce = 16

// muchToCount is from how many repositories on the log tells how far counting is.
const muchToCount = 10_000

// count looks at the repositories of a quota: to load one counts it. In a directory one look is
// enough, since nobody else commits.
func (q *quotas) count(ctx context.Context, limit Quota) error {
	names, err := q.uncounted(ctx, limit)
	if err != nil {
		return err
	}

	log := q.store.opts.Log.With().Str("prefix", string(limit.Prefix)).Int("repositories", len(names)).Logger()
	begun := time.Now()

	var (
		group errgroup.Group
		done  atomic.Int64
	)

	group.SetLimit(countsAtOnce)

	for _, name := range names {
		group.Go(func() error {
			if n := done.Add(1); n%muchToCount == 0 {
				log.Info().Int64("done", n).Msg("counting for a quota")
			}

			return q.look(ctx, name)
		})
	}

	if err := group.Wait(); err != nil {
		return err
	}

	if took := time.Since(begun); took > time.Second {
		log.Info().Dur("took", took).Msg("counted for a quota")
	}

	return nil
}

// uncounted lists the repositories that are to be looked at.
func (q *quotas) uncounted(ctx context.Context, limit Quota) ([]RepoName, error) {
	if q.store.remote {
		if err := q.store.catalog.refresh(ctx, q.store.repos.now()); err != nil {
			return nil, err
		}
	}

	all, _ := q.store.catalog.list("", -1)

	q.mu.Lock()
	defer q.mu.Unlock()

	var names []RepoName

	for _, name := range all {
		if _, counted := q.repos[name]; limit.covers(name) && (q.store.remote || !counted) {
			names = append(names, name)
		}
	}

	return names, nil
}

// look loads a repository, or takes in what others have appended. One that is damaged does not
// keep the others from being pushed to.
func (q *quotas) look(ctx context.Context, name RepoName) error {
	err := q.store.repos.background(ctx, name, q.store.repos.now(), func(*repository) error { return nil })
	if errors.Is(err, ErrDamaged) || errors.Is(err, ErrFormat) {
		q.store.opts.Log.Error().Err(err).Str("repository", string(name)).Msg("not counted for its quota")

		return nil
	}

	return err
}

// room says whether so many bytes could ever be committed in a repository. It is asked before
// they come, as a courtesy: some of them may have been counted already.
//
// Errors: *QuotaError.
func (q *quotas) room(name RepoName, bytes int64) error {
	if !q.cover(name) {
		return nil
	}

	q.mu.Lock()
	defer q.mu.Unlock()

	for i, limit := range q.limits {
		if limit.covers(name) && limit.Bytes > 0 && bytes > limit.Bytes {
			return &QuotaError{Prefix: limit.Prefix, Unit: "bytes", Limit: limit.Bytes, Used: q.used[i].bytes, Asked: bytes}
		}
	}

	return nil
}

// QuotaStats are a quota, and what is used of it as far as that is known.
type QuotaStats struct {
	Quota

	UsedBytes, UsedRepositories int64
}

func (q *quotas) stats() []QuotaStats {
	if q == nil {
		return nil
	}

	q.mu.Lock()
	defer q.mu.Unlock()

	all := make([]QuotaStats, len(q.limits))
	for i, limit := range q.limits {
		all[i] = QuotaStats{limit, q.used[i].bytes, q.used[i].repos}
	}

	return all
}
