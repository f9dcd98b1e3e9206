package storage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/internal/pause"
)

// doubt is about bytes that an earlier process has written, and perhaps not flushed: it was
// killed, or the power failed, and nobody can tell which. A power cut may leave a file with
// its name and its length, and zeros in it. What a manifest names was on disk before. All
// else is read whole, and hashed, before it is served, counted on or linked to; a walk in the
// background does so to what nobody asks for, and then the doubt is over.
type doubt struct {
	mu      sync.Mutex
	vouched map[string]struct{} // keys that this process has written, or hashed
}

// maxVouched bounds the memory of a doubt. What is forgotten is read once more.
const maxVouched = 1 << 16

// AlwaysSyncer is a Driver whose Sync may be set to do nothing. SyncAlways flushes all the same.
type AlwaysSyncer interface {
	SyncAlways(ctx context.Context) error
}

// syncAlways flushes, whatever the settings are.
func (d *durability) syncAlways(ctx context.Context) error {
	if syncer, ok := d.driver.(AlwaysSyncer); ok {
		return syncer.SyncAlways(ctx)
	}

	return d.driver.Sync(ctx)
}

// beginDoubt finds out how the process before has ended. That this one may not end well is on
// disk before it writes anything.
func (d *durability) beginDoubt(ctx context.Context) error {
	_, err := d.driver.Stat(ctx, allFlushed)
	if isNotExist(err) {
		d.doubt.Store(&doubt{vouched: map[string]struct{}{}})

		return nil
	}

	if err == nil {
		err = d.driver.Delete(ctx, allFlushed)
	}

	if err == nil {
		err = d.syncAlways(ctx)
	}

	if err != nil {
		return fmt.Errorf("look how the process before has ended: %w", err)
	}

	return nil
}

// ended leaves word that there is nothing to doubt.
func (d *durability) ended(ctx context.Context) error {
	if d.remote || d.doubt.Load() != nil || !d.allSettled() {
		return nil
	}

	if _, ok := d.driver.(AlwaysSyncer); ok { // what was settled may be in memory only
		if err := d.syncAlways(ctx); err != nil {
			return fmt.Errorf("flush to disk: %w", err)
		}
	}

	if _, err := d.driver.Put(ctx, allFlushed, nil); err != nil {
		return fmt.Errorf("note that all is on disk: %w", err)
	}

	return nil
}

// allSettled says whether all blobs are on disk, and no flush has ever failed meanwhile.
func (d *durability) allSettled() bool {
	d.mu.Lock()
	defer d.mu.Unlock()

	return len(d.dirty) == 0 && !d.unknown && d.epoch == 0
}

// doubts says whether the bytes at key have to be looked at, unless a manifest names them.
func (d *durability) doubts(key string) bool {
	doubt := d.doubt.Load()
	if doubt == nil {
		return false
	}

	doubt.mu.Lock()
	defer doubt.mu.Unlock()

	_, ok := doubt.vouched[key]

	return !ok
}

// vouch says that the bytes at key are what they should be.
func (d *durability) vouch(key string) {
	doubt := d.doubt.Load()
	if doubt == nil {
		return
	}

	doubt.mu.Lock()
	defer doubt.mu.Unlock()

	for other := range doubt.vouched {
		if len(doubt.vouched) < maxVouched {
			break
		}

		delete(doubt.vouched, other)
	}

	doubt.vouched[key] = struct{}{}
}

// trust returns when it is sure that the bytes at key have the digest, as far as an earlier
// process may not have flushed them. Where a manifest names them that need not be asked.
//
// Errors: ErrDamaged, ErrBlobUnknown.
func (s *Store) trust(ctx context.Context, key string, dgst digest.Digest) error {
	if !s.durability.doubts(key) {
		return nil
	}

	defer s.examining.lock(dgst)()

	if !s.durability.doubts(key) { // somebody else has looked
		return nil
	}

	return s.examine(ctx, key, dgst)
}

// examine reads a blob that is in doubt. From now on it is treated as one that this process
// has written: nothing has flushed it yet, as far as is known.
func (s *Store) examine(ctx context.Context, key string, dgst digest.Digest) error {
	info, err := s.driver.Stat(ctx, key)
	if err != nil {
		return blobError(dgst, err)
	}

	begun := s.durability.writing(key)
	if s.durability.epochOf(info.Modified) != begun {
		return s.distrust(ctx, key, "it may not have been on disk when a flush failed")
	}

	got, err := s.hash(ctx, key, dgst.Algorithm())
	if err != nil {
		return blobError(dgst, err)
	}

	if got != dgst {
		return s.distrust(ctx, key, "its content is "+got.String())
	}

	return s.durability.wrote(ctx, key, begun)
}

// distrust marks a blob, unless it was pushed again meanwhile.
func (s *Store) distrust(ctx context.Context, key, why string) error {
	if !s.durability.doubts(key) {
		return nil
	}

	s.durability.markDamaged(ctx, key, why)

	return fmt.Errorf("%w: blob %s", ErrDamaged, key)
}

func (s *Store) hash(ctx context.Context, key string, alg digest.Algorithm) (got digest.Digest, err error) {
	object, err := s.driver.Open(ctx, key, Whole)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, object.Close()) }()

	return alg.FromReader(object.Body)
}

// endDoubt looks at all that is in doubt, until that is done.
func (s *Store) endDoubt(ctx context.Context) {
	for s.durability.doubt.Load() != nil && ctx.Err() == nil {
		err := s.examineAll(ctx)
		if err == nil {
			s.durability.doubt.Store(nil)

			return
		}

		s.report("look at what the process before may not have flushed", err)
		_ = pause.For(ctx, catalogEvery) // the loop sees it
	}
}

// examineAll examines each blob that no manifest names. It rests for as long as it reads.
func (s *Store) examineAll(ctx context.Context) error {
	var failed error // the first time; others of the same kind would follow

	examined, begin := 0, s.opts.Now()

	for info, err := range s.driver.List(ctx, "", "") {
		if err != nil {
			return err
		}

		repo, dgst, ok := SplitBlobKey(info.Key)
		if !ok {
			continue
		}

		began := time.Now()

		looked, err := s.examineUnnamed(ctx, repo, dgst)
		if failed == nil {
			failed = err
		}

		if looked {
			examined++

			_ = pause.For(ctx, time.Since(began)) // the end of ctx is told below
		}
	}

	if err := ctx.Err(); err != nil {
		return err
	}

	if examined > 0 {
		s.opts.Log.Info().Int("blobs", examined).Dur("took", s.opts.Now().Sub(begin)).
			Msg("looked at the blobs that no manifest names: zot was killed, or the power failed")
	}

	return failed
}

func (s *Store) examineUnnamed(ctx context.Context, repo RepoName, dgst digest.Digest) (looked bool, err error) {
	err = s.repos.with(ctx, repo, s.repos.recent(), func(r *repository) error {
		key := BlobKey(repo, dgst)
		if r.visible.Load().vouchesFor(dgst) || s.durability.isDamaged(key) {
			return nil
		}

		looked = s.durability.doubts(key)

		return s.trust(ctx, key, dgst)
	})
	if errors.Is(err, ErrDamaged) && looked || errors.Is(err, ErrBlobUnknown) {
		err = nil // it is marked, or gone
	}

	return looked, err
}

// vouchesFor says whether a record names dgst that was written when its bytes were on disk.
func (s *state) vouchesFor(dgst digest.Digest) bool {
	_, _, known := s.lookup(dgst)

	return known
}
