package storage

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
)

// The target keeps what has happened to tags in the source as operations that change nothing
// (OpWas), and up to which record of the source it tells that (OpCopied). A repository that
// was there before it was copied for the first time has a history of its own, and goes on
// with that.

// maxPast is how many events of a repository are copied at once; older ones are left out.
const maxPast = 100_000

// copiedEvent is something that has happened to a tag of the source.
type copiedEvent struct {
	tag    Tag
	digest digest.Digest // "" = it was deleted
	time   time.Time
	who    string
	seq    uint64 // of the record of the source
}

// notCopied is the number where the target tells nothing of the source.
const notCopied = ^uint64(0)

// findCopied finds out up to which record of the source the target tells what has happened.
func (c *repoCopy) findCopied(ctx context.Context) error {
	st := c.dst.visible.Load()
	if !st.exists() {
		c.seq = 0

		return nil
	}

	c.seq = notCopied

	for record, err := range c.dst.log.History(ctx, st.seq+1) {
		if err != nil {
			return fmt.Errorf("history of the target: %w", err)
		}

		for _, op := range record.Ops {
			if op.Kind == OpCopied && op.Who == c.from.driver.ID() {
				c.seq = op.Seq

				return nil
			}
		}
	}

	return nil
}

// noteCopied commits that the target tells of the source up to a record.
func (c *repoCopy) noteCopied(seq uint64) error {
	if c.seq == notCopied || c.seq == seq || !c.dst.visible.Load().exists() {
		return nil
	}

	c.seq = seq

	return c.dst.commit(c.opts.Who, func(*state) ([]Op, error) {
		return []Op{{Kind: OpCopied, Seq: seq, Who: c.from.driver.ID()}}, nil
	})
}

// copyHistory tells the target what has happened to tags, but for what they are now: that
// follows. In a record there is one event of a tag at the most.
func (c *repoCopy) copyHistory(ctx context.Context) error {
	c.last = map[Tag]copiedEvent{}

	if c.seq == notCopied || c.st.seq <= c.seq || !c.dst.visible.Load().exists() {
		return nil
	}

	events, err := c.events(ctx)
	if err != nil {
		return err
	}

	for len(events) > 0 {
		var (
			ops  []Op
			seen = map[Tag]bool{}
			n    = 0
		)

		for ; n < len(events) && n < copyBatch && !seen[events[n].tag]; n++ {
			event := events[n]
			seen[event.tag] = true

			if !c.isNow(event) {
				ops = append(ops, Op{Kind: OpWas, Tag: event.tag, Digest: event.digest, Time: event.time, Who: event.who})
			}
		}

		ops = append(ops, Op{Kind: OpCopied, Seq: events[n-1].seq, Who: c.from.driver.ID()})

		if err := c.dst.commit(c.opts.Who, func(*state) ([]Op, error) { return ops, nil }); err != nil {
			return err
		}

		events = events[n:]
	}

	return nil
}

// isNow says whether an event has made a tag what it is, or taken one that the target has:
// that is told when the target does the same.
func (c *repoCopy) isNow(event copiedEvent) bool {
	entry, exists := c.st.tags.Get(event.tag)
	if exists {
		return entry.Digest == event.digest && entry.Time.Equal(event.time)
	}

	_, had := c.dst.visible.Load().tags.Get(event.tag)

	return had && c.opts.Exact && c.last[event.tag] == event
}

// events are what has happened to tags since record c.seq, the oldest first.
func (c *repoCopy) events(ctx context.Context) ([]copiedEvent, error) {
	var events []copiedEvent

	for record, err := range c.src.log.History(ctx, c.st.seq+1) {
		if err != nil {
			return nil, fmt.Errorf("history of the source: %w", err)
		}

		if record.Seq <= c.seq || len(events) >= maxPast {
			break
		}

		for _, op := range slices.Backward(record.Ops) {
			for _, event := range c.eventsOf(record, op) {
				events = append(events, event)

				if _, known := c.last[event.tag]; !known {
					c.last[event.tag] = event
				}
			}
		}
	}

	slices.Reverse(events)

	return events, nil
}

// eventsOf are what an operation has done to tags.
func (c *repoCopy) eventsOf(record Record, op Op) []copiedEvent {
	at, who := op.by(record)

	switch op.Kind {
	case OpSetTag, OpWas:
		return []copiedEvent{{op.Tag, op.Digest, at, who, record.Seq}}
	case OpDeleteTag:
		return []copiedEvent{{op.Tag, "", at, who, record.Seq}}
	case OpDeleteRepo: // it does not say which tags went; what can be brought back does
		var events []copiedEvent

		c.st.burials.Scan(func(_ digest.Digest, b *burial) bool {
			for _, tag := range b.Tags {
				if b.Seq == record.Seq {
					events = append(events, copiedEvent{tag, "", at, who, record.Seq})
				}
			}

			return true
		})

		return events
	}

	return nil
}

// deleteTag deletes a tag of the target, when and by whom it was deleted in the source if that
// is known.
func (c *repoCopy) deleteTag(tag Tag) Op {
	op := Op{Kind: OpDeleteTag, Tag: tag}

	if last, known := c.last[tag]; known && last.digest == "" {
		op.Time, op.Who = last.time, last.who
	}

	return op
}
