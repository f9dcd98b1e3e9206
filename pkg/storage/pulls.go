package storage

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/opencontainers/go-digest"
)

// How often pull times are written, how many of them wait for that at the most, and how old
// an object is that is taken over: its process has ended, or has not run GC since.
const (
	pullsEvery  = time.Minute
	maxPullNews = 1 << 18 // some 30 MB of memory
	pullsIdle   = 24 * time.Hour
)

// pulls remembers when manifests were pulled last, in the repositories whose policy asks
// for it. A pull only changes the memory; what is new is written once a minute, and at
// Close, to an object of the repository that this process alone writes. What a process
// that is killed has not written is lost.
type pulls struct {
	store   *Store
	replica string // names our objects
	limit   int    // of times in news

	mu    sync.Mutex // guards all below
	news  map[RepoName]pullTimes
	count int // of times in news
	wrote map[RepoName]bool
	all   time.Time // when other policies came into force: until then all counts as pulled

	writing sync.Mutex // one writer of our objects at a time
}

func newPulls(store *Store) *pulls {
	replica := "local"
	if store.remote {
		replica = uuid.NewString()
	}

	return &pulls{store: store, replica: replica, limit: maxPullNews, news: map[RepoName]pullTimes{}, wrote: map[RepoName]bool{}}
}

// unknown is what is known of a repository without an object of ours: nothing from before
// this process; nothing at all if we had written one, and somebody has removed it. p.mu is
// held.
func (p *pulls) unknown(name RepoName) pullTimes {
	if p.wrote[name] {
		return newPullTimes(minuteOf(p.store.opts.Now()))
	}

	return newPullTimes(minuteOf(p.store.opened))
}

// startOver has all that is there count as pulled now: by the policies until now it may have been
// of no interest what was.
func (p *pulls) startOver() {
	p.mu.Lock()
	defer p.mu.Unlock()

	p.all = p.store.opts.Now()
}

// atLeast adds to times what counts as pulled anyway.
func (p *pulls) atLeast(times pullTimes) pullTimes {
	p.mu.Lock()
	defer p.mu.Unlock()

	if !p.all.IsZero() {
		times.All = max(times.All, minuteOf(p.all))
	}

	return times
}

// note says that a manifest was pulled now. Where there is more news than memory, all of
// the repository counts as pulled.
func (p *pulls) note(r *repository, dgst digest.Digest) {
	if !r.policyBy(p.store.gc()).needsPulls() {
		return
	}

	now := minuteOf(p.store.opts.Now())

	p.mu.Lock()
	defer p.mu.Unlock()

	news, ok := p.news[r.name]
	if !ok {
		news = p.unknown(r.name)
		p.news[r.name] = news
	}

	if _, known := news.Pulled[dgst]; !known {
		p.count++
	}

	news.Pulled[dgst] = now

	if p.count > p.limit {
		p.count -= len(news.Pulled)
		p.news[r.name] = pullTimes{Format: pullsFormat, Began: news.Began, All: now, Pulled: map[digest.Digest]minute{}}
	}
}

// take returns the news of a repository, to be written.
func (p *pulls) take(name RepoName) (pullTimes, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()

	news, ok := p.news[name]
	p.count -= len(news.Pulled)
	delete(p.news, name)

	return news, ok
}

// giveBack takes in again what could not be written.
func (p *pulls) giveBack(name RepoName, news pullTimes) {
	p.mu.Lock()
	defer p.mu.Unlock()

	if newer, ok := p.news[name]; ok {
		p.count -= len(newer.Pulled)
		news = news.merge(newer)
	}

	p.news[name] = news
	p.count += len(news.Pulled)
}

// flush writes all news. An older object would say that there was no pull, so they go to
// disk together.
func (p *pulls) flush(ctx context.Context) error {
	p.mu.Lock()
	names := maps.Clone(p.news)
	p.mu.Unlock()

	if len(names) == 0 {
		return nil
	}

	var failed []error

	for name := range names {
		failed = append(failed, p.store.repos.with(ctx, name, time.Time{}, func(r *repository) error {
			return p.write(ctx, r)
		}))
	}

	return errors.Join(append(failed, p.store.durability.flush(ctx))...)
}

// write adds the news of a repository to our object of it. A repository that is gone has
// none.
func (p *pulls) write(ctx context.Context, r *repository) error {
	p.writing.Lock()
	defer p.writing.Unlock()

	news, ok := p.take(r.name)
	if !ok || !r.visible.Load().exists() {
		return nil
	}

	own, found, err := p.readOne(ctx, PullsKey(r.name, p.replica))
	if err == nil {
		next := news
		if found {
			next = own.merge(news)
		}

		if next = p.atLeast(next); found && next.equal(own) {
			return nil
		}

		err = p.put(ctx, r.name, next)
	}

	if err != nil {
		p.giveBack(r.name, news)
	}

	return err
}

// keepPulls writes pull times from time to time.
func (s *Store) keepPulls(ctx context.Context) {
	every(ctx, pullsEvery, func() { s.report("write pull times", s.pulls.flush(ctx)) })
}
