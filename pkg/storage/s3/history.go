package s3

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"zotregistry.io/zot/pkg/storage"
)

// Every record comes into a segment when it leaves the head, and a segment has no others. So
// the history is the segments that no head names any more, which a listing finds. Some
// records are in several: several segments were made one, or a head did not come to
// name one.

// History reads the head, then segments, each when it is needed.
func (l *repoLog) History(ctx context.Context, before uint64) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		h := history{log: l, before: before, read: map[string]uint64{}}

		for more := true; more; {
			records, err := h.next(ctx)
			if err != nil {
				yield(storage.Record{}, fmt.Errorf("history of %s: %w", l.prefix, err))

				return
			}

			for _, record := range slices.Backward(records) {
				if !yield(record, nil) {
					return
				}
			}

			more = len(records) > 0
		}
	}
}

// history is one loop over a log's history.
type history struct {
	log    *repoLog
	before uint64 // what comes next has a lower number

	begun    bool              // the head has been read
	segments []segmentName     // that a listing found; nil = it was not needed yet
	read     map[string]uint64 // the last record of each segment that was read
}

// segmentName is a segment of which its name is known.
type segmentName struct {
	first uint64
	name  string
}

// next returns the records that come next, in order; none if there are no more.
func (h *history) next(ctx context.Context) ([]storage.Record, error) {
	records, err := h.more(ctx)
	if len(records) > 0 {
		h.before = records[0].Seq
	}

	return records, err
}

func (h *history) more(ctx context.Context) ([]storage.Record, error) {
	if !h.begun {
		h.begun = true

		if records := below(h.log.current().head.Batches, h.before); len(records) > 0 {
			return records, nil
		}
	}

	if h.segments == nil {
		var err error
		if h.segments, err = h.log.listSegments(ctx); err != nil {
			return nil, err
		}
	}

	return h.fromSegments(ctx)
}

// fromSegments returns the records of the segment that has the record before h.before. If that
// is lost, it goes on where there are older ones.
func (h *history) fromSegments(ctx context.Context) ([]storage.Record, error) {
	var (
		older     []storage.Record
		following = h.before
	)

	for _, segment := range h.segments {
		if last, known := h.read[segment.name]; segment.first >= following || known && last+1 < following {
			continue
		}

		records, err := h.segment(ctx, segment)
		if err != nil {
			return nil, err
		}

		if n := len(records); n > 0 && records[n-1].Seq+1 == following {
			return records, nil
		} else if n > 0 && (len(older) == 0 || records[n-1].Seq > older[len(older)-1].Seq) {
			older = records
		}
	}

	return older, nil
}

// segment returns the records of a segment that are still wanted. One that was removed
// meanwhile has none.
func (h *history) segment(ctx context.Context, segment segmentName) ([]storage.Record, error) {
	batches, err := h.log.batchesIn(ctx, segment.name)
	if isNotExist(err) {
		return nil, nil
	}

	if err != nil {
		return nil, err
	}

	if len(batches) > 0 {
		h.read[segment.name] = batches[len(batches)-1].last()
	}

	return below(batches, h.before), nil
}

// below are the records of batches below number seq, in order.
func below(batches []batch, seq uint64) []storage.Record {
	records := recordsOf(batches, 0)
	end := len(records)

	for end > 0 && records[end-1].Seq >= seq {
		end--
	}

	return records[:end]
}

// segmentPrefix is followed by the number of a segment's first record and a token.
const segmentPrefix = "segment-"

// listSegments lists the segments, those that begin last first.
func (l *repoLog) listSegments(ctx context.Context) ([]segmentName, error) {
	found := []segmentName{}

	err := l.eachSegment(ctx, func(segment segmentName, _ stored) { found = append(found, segment) })

	slices.SortFunc(found, func(a, b segmentName) int {
		return cmp.Or(cmp.Compare(b.first, a.first), cmp.Compare(a.name, b.name))
	})

	return found, err
}

func (l *repoLog) eachSegment(ctx context.Context, do func(segmentName, stored)) error {
	for object, err := range l.b.client.list(ctx, l.objectKey(segmentPrefix), "", 0) {
		if err != nil {
			return err
		}

		name := strings.TrimPrefix(object.key, l.objectKey(""))
		number, _, _ := strings.Cut(strings.TrimPrefix(name, segmentPrefix), "-")

		if first, err := strconv.ParseUint(number, 10, 64); err == nil {
			do(segmentName{first, name}, object)
		}
	}

	return nil
}

// DropHistory removes the segments that were written before older, and a day ago, and which
// begin before all that the head leads to: a writer that slept could only come to name later
// ones. Who reads an older head looks at the present one where something is gone. A log with
// one checkpoint has no such segments yet, and is not asked for them.
func (l *repoLog) DropHistory(ctx context.Context, older time.Time) error {
	if l.current().head.Before == nil {
		return nil
	}

	if dayAgo := l.b.opts.Now().Add(-keptFor); dayAgo.Before(older) {
		older = dayAgo
	}

	var old []segmentName

	err := l.eachSegment(ctx, func(segment segmentName, object stored) {
		if object.modified.Before(older) {
			old = append(old, segment)
		}
	})
	if err == nil {
		err = l.checks.Ask(ctx)
	}

	if err != nil {
		return fmt.Errorf("drop history of %s: %w", l.prefix, err)
	}

	oldest := l.current().head.oldest()

	for _, segment := range old {
		if segment.first >= oldest {
			continue
		}

		if err := l.b.client.delete(ctx, l.objectKey(segment.name)); err != nil {
			return fmt.Errorf("drop history of %s: %w", l.prefix, err)
		}
	}

	return nil
}
