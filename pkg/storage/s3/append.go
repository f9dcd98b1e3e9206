package s3

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"zotregistry.io/zot/pkg/storage"
)

// A write whose outcome is not known is looked after as often as maxTries, and no longer
// than settleLimit: all commits to the repository wait meanwhile.
const (
	maxTries    = 16
	settleLimit = 30 * time.Second
)

// Append replaces the head by one that has the records, on condition that it is the one
// that they follow. Where the answer does not say what happened, the batch's token does:
// whoever finds it in the log knows that it was there first.
//
// The bytes of all tries are the same. So a try that arrives late finds its own head, or
// another one, and changes nothing.
func (l *repoLog) Append(ctx context.Context, records []storage.Record) error {
	if len(records) == 0 {
		return nil
	}

	l.writing.Lock()
	defer l.writing.Unlock()

	base := l.current()
	next := batch{Token: newToken(), Records: records}

	if records[0].Seq != base.head.Seq+1 {
		return fmt.Errorf("%w: record %d does not follow %d", storage.ErrConflict, records[0].Seq, base.head.Seq)
	}

	into, err := l.withRoom(ctx, base.head)
	if err != nil {
		return err
	}

	return l.replace(ctx, base, into.with(next), next.Token)
}

// replace puts a head in place of base. token is that of the batch that it adds, or of
// the head itself.
//
// Errors: storage.ErrConflict; after any other it may have happened.
func (l *repoLog) replace(ctx context.Context, base seenHead, next *head, token string) error {
	next.Format = headFormat

	body, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("encode head: %w", err)
	}

	cond := condition{match: base.etag, absent: base.etag == ""}

	ctx, cancel := context.WithTimeoutCause(ctx, settleLimit, storage.ErrUnavailable)
	defer cancel()

	for try := range maxTries {
		sent := l.b.opts.Now()

		etag, err := l.b.client.putOnce(ctx, l.headKey(), body, cond)
		if err == nil && etag != "" {
			l.saw(seenHead{next, etag, sent})

			return nil
		}

		if errors.Is(err, errRefused) {
			return err
		}

		refused := try == 0 && errors.Is(err, errCondition)

		settled, err := l.settle(ctx, base, token, try)
		if settled {
			return nil
		}

		// Only who has sent a request twice may be refused although it was carried out. A proxy
		// may do that, too; but here a checkpoint would have to cover the record meanwhile.
		if refused && errors.Is(err, errForgotten) {
			return fmt.Errorf("%w: head of %s", storage.ErrConflict, l.prefix)
		}

		if err != nil {
			return outOfTime(ctx, err)
		}
	}

	return fmt.Errorf("write the head of %s: not after %d tries", l.prefix, maxTries)
}

// outOfTime says of an error that came of the end of ctx why that ended.
func outOfTime(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}

	return fmt.Errorf("%w: %w", context.Cause(ctx), err)
}

// settle finds out what became of a write whose answer says nothing, or that its
// condition does not hold: it may not hold because an earlier try has succeeded.
func (l *repoLog) settle(ctx context.Context, base seenHead, token string, try int) (settled bool, err error) {
	for ; try < maxTries; try++ {
		if err = l.checks.Ask(ctx); err == nil || errors.Is(err, storage.ErrDamaged) || errors.Is(err, storage.ErrFormat) {
			break
		}

		if err := l.b.pause(ctx, try); err != nil {
			return false, err
		}
	}

	if err != nil {
		return false, err
	}

	now := l.current()
	if now.etag == base.etag {
		return false, l.b.pause(ctx, try) // nothing happened yet: once more
	}

	if now.head.Writer == token {
		return true, nil
	}

	ours, err := l.contains(ctx, now.head, base.head.Seq, token)
	if ours || err != nil {
		return ours, err
	}

	return false, fmt.Errorf("%w: head of %s", storage.ErrConflict, l.prefix)
}

// errForgotten: nobody can say any more what became of a write.
var errForgotten = errors.New("nobody knows any more whether it was written")

// contains says whether the log has the batch of a token behind record seq. Segments that
// only older heads name are not looked at.
//
// Errors: errForgotten.
func (l *repoLog) contains(ctx context.Context, h *head, seq uint64, token string) (bool, error) {
	for _, b := range h.Batches {
		if b.Token == token {
			return true, nil
		}
	}

	for _, segment := range h.Segments {
		if segment.Last <= seq {
			continue
		}

		batches, err := l.readSegment(ctx, segment)
		if err != nil {
			return false, err
		}

		for _, b := range batches {
			if b.Token == token {
				return true, nil
			}
		}
	}

	if h.oldest() > seq+1 {
		return false, fmt.Errorf("%w: record %d of %s: %w", errForgotten, seq+1, l.prefix, storage.ErrUnavailable)
	}

	return false, nil
}

// oldest is the number of the first record that a head still leads to.
func (h *head) oldest() uint64 {
	switch {
	case len(h.Segments) > 0:
		return h.Segments[0].First
	case len(h.Batches) > 0:
		return h.Batches[0].first()
	}

	return h.Seq + 1
}

// Checkpoint writes the state to an object of its own, then has the head name it. index
// is not called.
//
// A crash before the head is replaced leaves an object that nobody names.
func (l *repoLog) Checkpoint(ctx context.Context, seq uint64, state, _ func(io.Writer) error) error {
	if l.current().head.covered() >= seq {
		return nil // another replica was first, or will have been
	}

	name := fmt.Sprintf("checkpoint-%020d-%s", seq, newToken())
	if err := l.b.write(ctx, l.objectKey(name), state); err != nil {
		return err
	}

	due, err := l.nameCheckpoint(ctx, checkpointRef{seq, name})
	for errors.Is(err, storage.ErrConflict) {
		due, err = l.nameCheckpoint(ctx, checkpointRef{seq, name})
	}

	for _, name := range due { // commits go on meanwhile
		l.b.litter(l.remove(ctx, name))
	}

	return err
}

// nameCheckpoint has the head name a checkpoint, and returns what heads of yesterday have
// named: it is to be removed. So is a checkpoint if the head has one that covers more.
func (l *repoLog) nameCheckpoint(ctx context.Context, ref checkpointRef) (due []string, err error) {
	l.writing.Lock()
	defer l.writing.Unlock()

	base := l.current()
	if base.head.hasNamed(ref.Name) { // a try whose answer was lost, and others have gone on
		return nil, nil
	}

	if base.head.covered() >= ref.Seq {
		return []string{ref.Name}, nil
	}

	written, err := l.b.client.head(ctx, l.objectKey(ref.Name)) // by the bucket's clock
	if err != nil {
		return nil, err
	}

	next, due := base.head.checkpointed(ref, written.modified).swept(written.modified)

	next, err = l.shelve(ctx, next)
	if err != nil {
		return nil, err
	}

	return due, l.replace(ctx, base, next, next.Writer)
}

// OpenIndex finds none: no other program writes into a bucket of ours.
func (l *repoLog) OpenIndex(context.Context) (storage.Index, error) {
	return storage.Index{}, fmt.Errorf("index.json of %s: %w", l.prefix, fs.ErrNotExist)
}

// OpenCheckpoint opens the newest checkpoint, or the one before.
func (l *repoLog) OpenCheckpoint(ctx context.Context, seq uint64) (io.ReadCloser, error) {
	h := l.current().head

	for _, ref := range []*checkpointRef{h.Checkpoint, h.Before} {
		if ref != nil && ref.Seq == seq {
			return l.openObject(ctx, ref.Name)
		}
	}

	return nil, fmt.Errorf("checkpoint %d of %s: %w", seq, l.prefix, fs.ErrNotExist)
}
