package storage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// repository is one in memory: its log, and the state that the log folds to.
// repos.go decides how long it stays.
type repository struct {
	name  RepoName
	store *Store
	log   Log

	visible atomic.Pointer[state] // what readers see: durable

	mu         sync.Mutex
	queue      []*commit // waiting to be appended
	committing bool      // someone is appending

	checkpointing sync.Mutex    // one checkpoint at a time
	covered       atomic.Uint64 // the number up to which the newest checkpoint reaches
	foreign       atomic.Bool   // index.json is another program's: it wants replacing

	adopting   sync.Mutex // one adoption at a time; guards the fields below
	unreadable any        // version of an index.json that does not parse
	since      time.Time  // when it was first seen
}

// openRepo loads a repository. One that does not exist has an empty state; nothing
// is created.
func openRepo(ctx context.Context, store *Store, name RepoName) (*repository, error) {
	log, err := store.driver.OpenLog(ctx, RepoPrefix(name))
	if err != nil {
		return nil, fmt.Errorf("open log of %s: %w", name, err)
	}

	r := &repository{name: name, store: store, log: log}
	r.visible.Store(newState())

	if err := r.load(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("load %s: %w", name, err), log.Close())
	}

	return r, nil
}

// load reads the log from its beginning. Records that an earlier process has appended,
// or that a failed flush had to cover, are on disk before anyone sees them.
func (r *repository) load(ctx context.Context) error {
	loaded, err := r.log.Load(ctx)
	if err != nil {
		return err
	}

	next, err := r.decode(ctx, loaded)
	if err != nil {
		return err
	}

	r.covered.Store(next.seq)

	if err := next.foldTail(loaded.Tail); err != nil {
		return err
	}

	if next.seq > r.covered.Load() {
		if err := r.store.durability.settleUnknown(ctx); err != nil {
			return err
		}

		r.store.repos.noteChange(r.name)
	}

	r.publish(next)

	return nil
}

// decode reads the checkpoint, or rebuilds it from index.json and the manifests if
// it is missing or damaged.
func (r *repository) decode(ctx context.Context, loaded Loaded) (*state, error) {
	if loaded.Checkpoint == nil {
		return r.rebuild(ctx, 0)
	}

	st, err := decodeCheckpoint(loaded.Checkpoint)
	if err = errors.Join(err, loaded.Checkpoint.Close()); err == nil || errors.Is(err, ErrFormat) {
		return st, err
	}

	r.store.opts.Log.Error().Err(err).Str("repository", string(r.name)).
		Msg("checkpoint is damaged; rebuilding it from index.json and the manifests")

	return r.rebuild(ctx, loaded.Covered)
}

// foldTail folds the records that the state does not have yet.
//
// Errors: ErrDamaged if one is missing between them.
func (s *state) foldTail(tail []Record) error {
	for _, record := range tail {
		if record.Seq <= s.seq {
			continue
		}

		if record.Seq != s.seq+1 {
			return fmt.Errorf("%w: journal goes from record %d to %d", ErrDamaged, s.seq, record.Seq)
		}

		s.fold(record)
	}

	return nil
}

// look takes in what others have changed. Every request on the repository begins
// with it.
func (r *repository) look(ctx context.Context) error {
	changes, err := r.log.Refresh(ctx, r.visible.Load().seq)
	if err != nil {
		return fmt.Errorf("refresh %s: %w", r.name, err)
	}

	if err := r.takeIn(ctx, changes); err != nil {
		return err
	}

	if changes.Index {
		return r.adoptOrServe(ctx)
	}

	return nil
}

// takeRecords takes in what other processes have appended.
func (r *repository) takeRecords(ctx context.Context) error {
	changes, err := r.log.Refresh(ctx, r.visible.Load().seq)
	if err != nil {
		return fmt.Errorf("refresh %s: %w", r.name, err)
	}

	return r.takeIn(ctx, changes)
}

func (r *repository) takeIn(ctx context.Context, changes Changes) error {
	switch {
	case changes.Reload:
		return r.load(ctx)
	case len(changes.Records) > 0:
		return r.catchUp(changes.Records)
	}

	return nil
}

// catchUp folds records that another process appended.
func (r *repository) catchUp(records []Record) error {
	next := r.visible.Load().clone()
	if err := next.foldTail(records); err != nil {
		return err
	}

	r.publish(next)

	return nil
}

// publish makes a state visible, unless a newer one is: a reader may have taken in
// our own records, and others behind them, before the writer gets here.
func (r *repository) publish(next *state) {
	r.mu.Lock()
	defer r.mu.Unlock()

	if next.seq > r.visible.Load().seq {
		r.visible.Store(next)
	}
}

// close lets go of the log. No call is under way.
func (r *repository) close() error { return r.log.Close() }
