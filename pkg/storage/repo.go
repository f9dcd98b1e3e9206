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

	policy atomic.Pointer[appliedPolicy] // of retention
	copies atomic.Int32                  // that are under way, from it or into it

	visible atomic.Pointer[state] // what readers see: durable
	glances glances

	mu         sync.Mutex
	queue      []*commit // waiting to be appended
	committing bool      // someone is appending

	checkpointing sync.Mutex    // one checkpoint at a time
	covered       atomic.Uint64 // the number up to which the newest checkpoint reaches
	foreign       atomic.Bool   // index.json is another program's: it wants replacing

	warned  atomic.Int64 // Unix nanoseconds: when it was last logged that adopting fails
	retried atomic.Int64 // Unix nanoseconds: when kept entries were last tried

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

	store.quotas.opened(name, r.visible.Load())

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

	if next, err = r.foldTail(ctx, next, loaded.Tail); err != nil {
		return err
	}

	if r.store.remote { // what the log has is durable, and nobody writes an index.json
		r.publish(next)

		return nil
	}

	if next, err = r.compare(ctx, next); err != nil {
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

// compare looks at the index.json of ours that lies beside the log. One that is newer
// than all that was read tells that a checkpoint is missing, and is what is left of it.
func (r *repository) compare(ctx context.Context, read *state) (*state, error) {
	data, version, err := readIndex(ctx, r.log)
	if err != nil && read.exists() {
		return read, nil // look finds it, too, and serves what there is
	}

	written, ours := checkIndex(data)
	if err != nil || !ours && data != nil {
		return read, err // look takes in what another program wrote
	}

	r.log.TookIndex(version)

	if written <= read.seq {
		r.wantIndex(written)

		return read, nil
	}

	r.store.opts.Log.Error().Str("repository", string(r.name)).Uint64("has", read.seq).Uint64("wants", written).
		Msg("a checkpoint is missing; rebuilding it")

	if st := r.replay(ctx, written); st != nil {
		r.foreign.Store(true)

		return st, nil
	}

	return r.rebuild(ctx, written)
}

// wantIndex has index.json written again if it is not the one of our checkpoint, but
// one of checkpoint written (0 = another program's, or none).
func (r *repository) wantIndex(written uint64) {
	if written != r.covered.Load() {
		r.foreign.Store(true)
		r.store.repos.noteChange(r.name)
	}
}

// decode reads the checkpoint, or rebuilds it from index.json and the manifests if
// it is missing or damaged.
func (r *repository) decode(ctx context.Context, loaded Loaded) (*state, error) {
	if loaded.Checkpoint == nil {
		return newState(), nil // compare finds out if there was one
	}

	st, err := decodeCheckpoint(loaded.Checkpoint)
	if err = errors.Join(err, loaded.Checkpoint.Close()); err == nil || errors.Is(err, ErrFormat) {
		return st, err
	}

	if st := r.replay(ctx, loaded.Covered); st != nil {
		r.store.opts.Log.Error().Err(err).Str("repository", string(r.name)).
			Msg("checkpoint is damaged; the one before it and the history have the same")

		return st, nil
	}

	r.store.opts.Log.Error().Err(err).Str("repository", string(r.name)).
		Msg("checkpoint is damaged; rebuilding it from index.json and the manifests")

	return r.rebuild(ctx, loaded.Covered)
}

// replay makes the state after record seq of an older checkpoint and the records behind it;
// nil if they do not lead there.
func (r *repository) replay(ctx context.Context, seq uint64) *state {
	log, ok := r.log.(CheckedLog)
	if !ok {
		return nil
	}

	kept, err := log.Checkpoints(ctx)
	if err != nil {
		return nil
	}

	st := newState()

	for _, info := range kept {
		if older, err := decodeKept(ctx, log, info); err == nil && info.Seq <= seq {
			st = older

			break
		}
	}

	for record, err := range log.Salvage(ctx, st.seq) {
		if err != nil || record.Seq != st.seq+1 || st.seq == seq {
			break
		}

		st.fold(record)
	}

	if st.seq != seq || seq == 0 {
		return nil
	}

	return st
}

// foldTail folds records behind a checkpoint. If that is not the one which they follow, since
// another one is missing, the history may have what lies between.
//
// Errors: ErrDamaged.
func (r *repository) foldTail(ctx context.Context, st *state, tail []Record) (*state, error) {
	if len(tail) > 0 && tail[0].Seq > st.seq+1 {
		if replayed := r.replay(ctx, tail[0].Seq-1); replayed != nil {
			r.store.opts.Log.Error().Str("repository", string(r.name)).Uint64("has", st.seq).Uint64("wants", replayed.seq).
				Msg("a checkpoint is missing; the one before it and the history have the same")

			st = replayed
		}
	}

	return st, st.foldTail(tail)
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

// look takes in what others have changed before since. Every request on the repository
// begins with it.
func (r *repository) look(ctx context.Context, since time.Time) error {
	if !r.store.remote {
		since = since.Add(-min(indexFor, r.store.opts.LookAfter))
	}

	changes, err := r.log.Refresh(ctx, r.visible.Load().seq, since)
	if err != nil {
		return fmt.Errorf("refresh %s: %w", r.name, err)
	}

	if err := r.takeIn(ctx, changes); err != nil {
		return err
	}

	if !changes.Index && len(r.visible.Load().kept) == 0 || r.store.opts.Passive { // nearly always
		return nil
	}

	return r.adoptOrServe(func() error {
		if changes.Index {
			return r.adopt(ctx)
		}

		return r.retryKept(context.WithoutCancel(ctx))
	})
}

// takeRecords takes in what other processes have appended.
func (r *repository) takeRecords(ctx context.Context) error {
	changes, err := r.log.Refresh(ctx, r.visible.Load().seq, r.store.opts.Now())
	if err != nil {
		return fmt.Errorf("refresh %s: %w", r.name, err)
	}

	return r.takeIn(ctx, changes)
}

func (r *repository) takeIn(ctx context.Context, changes Changes) error {
	if changes.Reload {
		return r.load(ctx)
	}

	if len(changes.Records) > 0 {
		if err := r.catchUp(changes.Records); err != nil {
			return err
		}
	}

	r.cover(changes.Covered)

	return nil
}

// cover notes that there is a checkpoint up to seq.
func (r *repository) cover(seq uint64) {
	for {
		known := r.covered.Load()
		if known >= seq || r.covered.CompareAndSwap(known, seq) {
			return
		}
	}
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
		r.store.quotas.observe(r.name, next)
	}
}

// close lets go of the log. No call is under way.
func (r *repository) close() error { return r.log.Close() }
