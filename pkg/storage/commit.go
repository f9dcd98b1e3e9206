package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// A commit is a change to a repository: all of it happens, or nothing. Commits that
// come while others are being appended wait, and then share one append and one
// flush.
type commit struct {
	who string

	// prepare decides against the pending state, in which the commits before it in
	// the batch have happened, and returns what is to be done. It may run more than
	// once, and changes nothing.
	prepare func(pending *state) ([]Op, error)

	bounded bool // it is refused if it does not fit in a quota

	done chan struct{}
	err  error
}

// commit appends what prepare decides, and returns when that is durable and visible.
// Once it waits, it waits to the end: the answer must say what happened.
func (r *repository) commit(who string, prepare func(pending *state) ([]Op, error)) error {
	return r.submit(&commit{who: who, prepare: prepare})
}

// commitBounded is commit within quotas. Their usage is known (quotas.ready).
//
// Errors: *QuotaError.
func (r *repository) commitBounded(who string, prepare func(pending *state) ([]Op, error)) error {
	return r.submit(&commit{who: who, prepare: prepare, bounded: true})
}

func (r *repository) submit(c *commit) error {
	c.done = make(chan struct{})

	r.mu.Lock()
	r.queue = append(r.queue, c)

	if !r.committing {
		r.committing = true
		r.store.tasks.run(r.appendAll)
	}
	r.mu.Unlock()

	<-c.done

	return c.err
}

// isCommitting says whether a batch is being appended, or waits to be.
func (r *repository) isCommitting() bool {
	r.mu.Lock()
	defer r.mu.Unlock()

	return r.committing
}

// appendAll appends batch after batch until no commit waits.
func (r *repository) appendAll() {
	for batch := r.take(); len(batch) > 0; batch = r.take() {
		err := r.appendBatch(context.Background(), batch) // it serves many callers
		if err != nil {
			r.store.figures.fails.Add(1)
		}

		for _, c := range batch {
			if err != nil {
				c.err = err
			}

			close(c.done)
		}
	}
}

func (r *repository) take() []*commit {
	r.mu.Lock()
	defer r.mu.Unlock()

	batch := r.queue
	r.queue = nil
	r.committing = len(batch) > 0

	return batch
}

// appendBatch commits a batch. It returns an error if nothing of it has happened;
// then no answer of a prepare counts either, since the commits before it that it saw
// never were.
func (r *repository) appendBatch(ctx context.Context, batch []*commit) error {
	for {
		base := r.visible.Load()
		pending, records := r.prepareBatch(base, batch)

		if len(records) == 0 {
			return nil
		}

		err := r.appendRecords(ctx, base, records)
		if err != nil {
			r.store.quotas.settle(r.name, base)
		}

		switch {
		case errors.Is(err, ErrConflict):
			err = r.takeRecords(ctx)
		case errors.Is(err, ErrLogLost):
			err = r.restate(ctx, err)
		case err == nil:
			r.store.quotas.settle(r.name, pending)
			r.publish(pending)
			r.store.repos.noteChange(r.name)

			return nil
		}

		if err != nil {
			return err
		}
	}
}

// prepareBatch lets each commit decide, in order, and folds what it decided into a copy of base.
func (r *repository) prepareBatch(base *state, batch []*commit) (*state, []Record) {
	var records []Record

	pending, now, bounded := base.clone(), r.store.opts.Now(), r.store.quotas.cover(r.name)

	for _, c := range batch {
		var ops []Op
		if ops, c.err = c.prepare(pending); c.err != nil || len(ops) == 0 {
			continue
		}

		next := pending
		if bounded { // one that does not fit leaves no trace
			next = pending.clone()
		}

		record := Record{Seq: pending.seq + 1, Time: now, Who: c.who, Ops: ops}
		next.fold(record)

		if c.err = r.store.quotas.reserve(r.name, next, !c.bounded); c.err != nil {
			continue
		}

		pending = next
		records = append(records, record)
	}

	return pending, records
}

// appendRecords makes records durable. A new repository gets its place in the
// catalog first: a crash leaves a name too many there, never one too few.
func (r *repository) appendRecords(ctx context.Context, base *state, records []Record) error {
	if err := r.enlist(ctx, base, records); err != nil {
		return err
	}

	if err := r.log.Append(ctx, records); err != nil {
		return fmt.Errorf("append to %s: %w", r.name, err)
	}

	if err := r.store.durability.flush(ctx); err != nil {
		return err
	}

	r.store.figures.batches.Add(1)
	r.store.figures.commits.Add(int64(len(records)))

	return nil
}

// enlist puts a new repository into the catalog. In a bucket that is one which gets its
// first manifest: the log of one that was emptied stays, and is in no list.
func (r *repository) enlist(ctx context.Context, base *state, records []Record) error {
	switch {
	case r.store.remote && base.isEmpty() && slices.ContainsFunc(records, putsManifest):
		return r.store.catalog.put(ctx, r.name)
	case !r.store.remote && !base.exists():
		return r.store.catalog.add(ctx, r.name)
	}

	return nil
}

func putsManifest(record Record) bool {
	return slices.ContainsFunc(record.Ops, func(op Op) bool { return op.Kind == OpPutManifest })
}
