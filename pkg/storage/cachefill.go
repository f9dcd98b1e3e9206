package storage

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// A cache tells by entries of its own whether it is the one that was filled: all are
// keys of a digest that no content has. A cache that was deleted, flushed or replaced
// lacks them, whatever its driver, and is filled again from the blobs that are there.
//
//   - "sealed/<token>" is put at a clean shutdown, and the token kept in the root. A
//     cache that lacks it at start is an old copy, or zot was killed.
//   - "live/<token>" is put before filling begins. If it goes, so have other entries.
//     Where others have the cache in their hands it is replaced after puts, so that a
//     server that comes back as it was a while ago, or without the last that it was
//     told, does not have it.
const (
	cacheMarker = digest.Digest("sha256:0000000000000000000000000000000000000000000000000000000000000000")
	sealedEntry = "sealed/"
	liveEntry   = "live/"
	cacheSeal   = "_cache-seal" // the object in the root that holds the token
)

// How often the live entry is looked at, and progress is logged.
const (
	cacheCheckEvery = 2 * time.Second
	progressEvery   = 10 * time.Second
)

// keepCacheFilled fills the cache where it is not complete, until the store closes.
func (s *Store) keepCacheFilled(ctx context.Context) {
	if _, off := s.cache.inner.(NoCache); off {
		return
	}

	fill := &cacheFill{store: s, run: uuid.NewString(), complete: s.isSealed(ctx)}

	fill.check(ctx)
	every(ctx, cacheCheckEvery, func() { fill.check(ctx) })
}

// cacheFill is the filling of a cache, as often as that takes.
type cacheFill struct {
	store    *Store
	run      string // names the process
	round    int    // how often it was filled
	mark     int    // how often the live entry was replaced
	marked   int64  // the number of puts before it was put
	complete bool   // the cache needs no filling
}

// check fills the cache if its live entry is gone, or was never put, or if too many
// puts went astray.
func (f *cacheFill) check(ctx context.Context) {
	f.store.payOwed(ctx)

	if f.round > 0 && f.store.hasEntry(ctx, f.entry()) && !f.store.owed.forgetLost() {
		f.renew(ctx)

		return
	}

	f.round++
	f.store.cacheFull.Store(false)

	err := f.store.cache.PutBlob(ctx, cacheMarker, f.entry())
	if err == nil && !f.complete {
		err = f.store.fillCache(ctx)
		f.store.report("fill the cache", err)
	}

	f.complete = false

	if err != nil { // try again
		f.store.forget(ctx, cacheMarker, f.entry())
	}

	f.store.cacheFull.Store(err == nil && f.store.hasEntry(ctx, f.entry()))
}

func (f *cacheFill) entry() string {
	return liveEntry + f.run + "/" + strconv.Itoa(f.round) + "." + strconv.Itoa(f.mark)
}

// renew replaces the live entry by one that is younger than all that was put. It is
// put before the old one goes: there is always one.
func (f *cacheFill) renew(ctx context.Context) {
	puts := f.store.cachePuts.Load()
	if !f.store.cache.remote || puts == f.marked {
		return
	}

	old := f.entry()
	f.mark++

	if f.store.cache.PutBlob(ctx, cacheMarker, f.entry()) != nil {
		f.mark-- // the old one is there still

		return
	}

	f.marked = puts
	f.store.forget(ctx, cacheMarker, old)
}

func (s *Store) hasEntry(ctx context.Context, entry string) bool {
	has, err := s.cache.HasBlob(ctx, cacheMarker, entry)

	return has || err != nil && !errors.Is(err, ErrCacheMiss) // out of reach is not empty
}

// isSealed says whether the cache is as the process before has left it. The seal is
// broken by looking: if this process is killed, the next one fills the cache.
func (s *Store) isSealed(ctx context.Context) bool {
	token, err := readObject(ctx, s.driver, cacheSeal, 1<<10)
	if err != nil {
		if !isNotExist(err) {
			s.report("read the cache's seal", err)
		}

		return false
	}

	if err := s.driver.Delete(ctx, cacheSeal); err != nil {
		s.report("break the cache's seal", err)

		return false
	}

	sealed, err := s.cache.HasBlob(ctx, cacheMarker, sealedEntry+string(token))
	s.dropEntries(ctx)

	return sealed && err == nil
}

// dropEntries removes what earlier processes have put.
func (s *Store) dropEntries(ctx context.Context) {
	for _, entry := range s.cachedKeys(ctx, cacheMarker, -1) {
		s.forget(ctx, cacheMarker, entry)
	}
}

// sealCache says to the next process that the cache is complete.
func (s *Store) sealCache(ctx context.Context) error {
	if s.payOwed(ctx); s.owed.isAny() || !s.cacheFull.Load() {
		return nil
	}

	token := uuid.NewString()
	if err := s.cache.PutBlob(ctx, cacheMarker, sealedEntry+token); err != nil {
		return nil //nolint:nilerr // the next process fills it
	}

	if _, err := s.driver.Put(ctx, cacheSeal, []byte(token)); err != nil {
		return fmt.Errorf("seal the cache: %w", err)
	}

	return nil
}

// fillers is how many puts are under way at a time while a cache is filled that is
// reached over a network: of 5 ms each, 200,000 take a minute instead of a quarter of
// an hour.
const fillers = 16

// fillCache puts every blob of the store into the cache.
func (s *Store) fillCache(ctx context.Context) error {
	group, putting := errgroup.WithContext(ctx)
	group.SetLimit(1)

	if s.cache.remote {
		group.SetLimit(fillers)
	}

	progress := &fillProgress{store: s, begin: s.opts.Now(), logged: s.opts.Now()}

	for key := range s.blobKeys(putting) {
		group.Go(func() error { return progress.put(putting, key) })
	}

	if err := group.Wait(); err != nil {
		return err
	}

	progress.done()

	return ctx.Err()
}

// blobKeys yields the key of every blob that is in a repository, until ctx ends.
func (s *Store) blobKeys(ctx context.Context) iter.Seq[string] {
	return func(yield func(string) bool) {
		for log, err := range s.driver.ListLogs(ctx) {
			if err != nil {
				s.report("look for repositories", err) // they go without dedupe

				continue
			}

			for info, err := range s.driver.List(ctx, log.Prefix+"blobs/", "") {
				if err != nil {
					s.report("list blobs of "+log.Prefix, err)

					break
				}

				if ctx.Err() != nil || !yield(info.Key) {
					return
				}
			}
		}
	}
}

// fillProgress is how far filling has come.
type fillProgress struct {
	store *Store
	begin time.Time

	mu     sync.Mutex // guards what follows
	blobs  int
	logged time.Time
}

// fillStep is after how many puts filling waits for a cache that writes behind, so
// that it leaves the cache's memory to requests, which must not wait.
const fillStep = 2000

func (p *fillProgress) put(ctx context.Context, key string) error {
	_, dgst, ok := SplitBlobKey(key)
	if !ok || p.store.durability.isDamaged(key) {
		return nil
	}

	if err := p.store.cache.putPatiently(ctx, dgst, key); err != nil {
		return err
	}

	if p.count(key)%fillStep != 0 {
		return nil
	}

	return p.store.cache.Flush(ctx)
}

// count counts a blob that was put, and returns how many there were.
func (p *fillProgress) count(key string) int {
	p.mu.Lock()
	defer p.mu.Unlock()

	p.blobs++

	if now := p.store.opts.Now(); now.Sub(p.logged) >= progressEvery {
		p.logged = now
		p.store.opts.Log.Info().Int("blobs", p.blobs).Str("at", key).Msg("filling the cache")
	}

	return p.blobs
}

func (p *fillProgress) done() {
	if p.blobs > 0 {
		p.store.opts.Log.Info().Int("blobs", p.blobs).Dur("took", p.store.opts.Now().Sub(p.begin)).
			Msg("filled the cache")
	}
}
