package s3

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"zotregistry.io/zot/pkg/storage"
)

// head is the object that says what the log of a repository is: the newest records, and
// the names of the immutable objects that have the older ones. It is only ever replaced,
// on condition that it is the one that was read; no two are the same bytes.
type head struct {
	Format int    `json:"format"`
	Writer string `json:"writer"` // token of whoever wrote it, unique
	Seq    uint64 `json:"seq"`    // number of the last record

	Checkpoint *checkpointRef `json:"checkpoint,omitempty"`
	Before     *checkpointRef `json:"before,omitempty"`   // the one before that
	Segments   []segmentRef   `json:"segments,omitempty"` // in order; they begin where Before ends, at the latest
	Batches    []batch        `json:"batches,omitempty"`  // behind the last segment

	// Dropped are objects that earlier heads have named. They go a day later: somebody
	// may be reading an old head.
	Dropped []droppedRef `json:"dropped,omitempty"`
}

// headFormat is the version of all that a head names, too. A newer zot writes a higher
// one before anything else in a repository that this one would misunderstand.
const headFormat = 1

type checkpointRef struct {
	Seq  uint64 `json:"seq"` // of the last record that it covers
	Name string `json:"name"`
}

type segmentRef struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	Size  int64  `json:"size"` // bytes
	Name  string `json:"name"`
}

type droppedRef struct {
	Name string    `json:"name"` // one that begins with dropList is a list of more
	Time time.Time `json:"time"` // the bucket's
}

// batch is the records of one append. Its token tells a writer that does not know what
// became of its append that it is here.
type batch struct {
	Token   string           `json:"token"`
	Records []storage.Record `json:"records"`
}

func (b batch) first() uint64 { return b.Records[0].Seq }

func (b batch) last() uint64 { return b.Records[len(b.Records)-1].Seq }

// What a head may have of its own, in bytes, before its records move to a segment: each
// push writes it, and each replica reads it after one.
const maxHead = 32 << 10

func decodeHead(data []byte) (*head, error) {
	if err := checkFormat(data, "format", headFormat); err != nil {
		return nil, fmt.Errorf("head: %w", err)
	}

	var h head
	if err := json.Unmarshal(data, &h); err != nil {
		return nil, fmt.Errorf("%w: head: %w", storage.ErrDamaged, err)
	}

	if err := checkBatches(h.Batches); err != nil {
		return nil, err
	}

	if err := h.check(); err != nil {
		return nil, err
	}

	return &h, nil
}

// check says whether a head leads from its checkpoints to its last record without a gap.
//
// Errors: storage.ErrDamaged.
func (h *head) check() error {
	begin := uint64(0)

	if h.Before != nil {
		begin = h.Before.Seq
	}

	if h.covered() > h.Seq || h.covered() < begin {
		return fmt.Errorf("%w: head of record %d has the checkpoints %d and %d", storage.ErrDamaged, h.Seq, begin, h.covered())
	}

	reached, first := begin, true
	follows := func(from, to uint64) bool {
		ok := from > 0 && from <= to && (from-1 == reached || first && from-1 < reached)
		reached, first = to, false

		return ok
	}

	for _, s := range h.Segments {
		if !follows(s.First, s.Last) {
			return fmt.Errorf("%w: head: segment %s does not follow", storage.ErrDamaged, s.Name)
		}
	}

	for _, b := range h.Batches {
		for _, record := range b.Records {
			if !follows(record.Seq, record.Seq) {
				return fmt.Errorf("%w: head: record %d does not follow", storage.ErrDamaged, record.Seq)
			}
		}
	}

	if max(reached, begin) != h.Seq {
		return fmt.Errorf("%w: head of record %d leads to %d", storage.ErrDamaged, h.Seq, reached)
	}

	return nil
}

// checkBatches looks for what this zot does not know.
//
// Errors: storage.ErrFormat, storage.ErrDamaged.
func checkBatches(batches []batch) error {
	for _, b := range batches {
		if len(b.Records) == 0 {
			return fmt.Errorf("%w: a batch has no records", storage.ErrDamaged)
		}

		if err := storage.CheckRecords(b.Records); err != nil {
			return err
		}
	}

	return nil
}

// with returns a head that has one batch more.
func (h *head) with(next batch) *head {
	changed := *h
	changed.Writer = next.Token
	changed.Seq = next.last()
	changed.Batches = append(slices.Clip(h.Batches), next)

	return &changed
}

// rolled returns a head whose batches are in a segment, of size bytes.
func (h *head) rolled(name string, size int64) *head {
	changed := *h
	changed.Segments = append(slices.Clip(h.Segments), segmentRef{
		First: h.Batches[0].first(), Last: h.Seq, Size: size, Name: name,
	})
	changed.Batches = nil

	return &changed
}

// Segments of about one size are made one when there are so many of them, until they are
// large: a repository of a million tags has a checkpoint for each 250,000 records or so,
// and the head must not name thousands of segments.
const (
	mergeAt    = 8
	maxSegment = mergeAt * mergeAt * maxHead // 2 MiB
)

// mergeable are the last segments, if they should be one.
func (h *head) mergeable() []segmentRef {
	begin := len(h.Segments)
	for begin > 0 && sizeClass(h.Segments[begin-1]) == sizeClass(h.Segments[len(h.Segments)-1]) {
		begin--
	}

	same := h.Segments[begin:]
	if len(same) < mergeAt || same[0].Size >= maxSegment {
		return nil
	}

	return same
}

func sizeClass(s segmentRef) int {
	class := 0
	for size := int64(mergeAt * maxHead); size <= min(s.Size, maxSegment); size *= mergeAt {
		class++
	}

	return class
}

// merged returns a head whose last n segments are one. They are put aside, now.
func (h *head) merged(n int, name string, size int64, now time.Time) *head {
	changed := *h
	kept, parts := h.Segments[:len(h.Segments)-n], h.Segments[len(h.Segments)-n:]
	changed.Dropped = slices.Clone(h.Dropped)

	for _, part := range parts {
		changed.Dropped = append(changed.Dropped, droppedRef{part.Name, now})
	}

	changed.Segments = append(slices.Clip(kept), segmentRef{
		First: parts[0].First, Last: parts[n-1].Last, Size: size, Name: name,
	})

	return &changed
}

// covered is the number up to which the checkpoint reaches.
func (h *head) covered() uint64 {
	if h.Checkpoint == nil {
		return 0
	}

	return h.Checkpoint.Seq
}

// hasNamed says whether a head names a checkpoint, or one before it did.
func (h *head) hasNamed(name string) bool {
	is := func(ref *checkpointRef) bool { return ref != nil && ref.Name == name }

	return is(h.Checkpoint) || is(h.Before) ||
		slices.ContainsFunc(h.Dropped, func(dropped droppedRef) bool { return dropped.Name == name })
}

// checkpointed returns a head with a new checkpoint. What the one before needs stays; a
// checkpoint that nobody needs any more is put aside, now; segments become history.
func (h *head) checkpointed(next checkpointRef, now time.Time) *head {
	changed := *h
	changed.Writer = next.Name
	changed.Before, changed.Checkpoint = h.Checkpoint, &next
	changed.Dropped = slices.Clone(h.Dropped)

	if h.Before != nil {
		changed.Dropped = append(changed.Dropped, droppedRef{h.Before.Name, now})
	}

	changed.Segments = nil

	for _, segment := range h.Segments {
		if changed.Before == nil || segment.Last > changed.Before.Seq { // the others are history
			changed.Segments = append(changed.Segments, segment)
		}
	}

	return &changed
}

// keptFor is how long what no head names stays: longer than any reader of an old head
// takes.
const keptFor = 24 * time.Hour

// swept returns a head that does not name what is due to go, and what that is.
func (h *head) swept(now time.Time) (changed *head, due []string) {
	next := *h
	next.Dropped = nil

	for _, dropped := range h.Dropped {
		if now.Sub(dropped.Time) >= keptFor {
			due = append(due, dropped.Name)
		} else {
			next.Dropped = append(next.Dropped, dropped)
		}
	}

	return &next, due
}

// dropList is what the name of a list of dropped objects begins with, and maxDropped how
// many are named without one: a busy repository drops ten thousand in a day.
const (
	dropList   = "dropped-"
	maxDropped = 64
)

// shelved returns a head in which a list of that name stands for what was dropped, and
// that list, which is to be written first; none if there is not much. Lists are not put
// into others: they would never be due.
func (h *head) shelved(name string) (changed *head, list []droppedRef) {
	next := *h
	next.Dropped = nil

	for _, dropped := range h.Dropped {
		if strings.HasPrefix(dropped.Name, dropList) {
			next.Dropped = append(next.Dropped, dropped)
		} else {
			list = append(list, dropped)
		}
	}

	if len(list) <= maxDropped {
		return h, nil
	}

	next.Dropped = append(next.Dropped, droppedRef{name, list[len(list)-1].Time})

	return &next, list
}

// recordsOf are the records of batches behind seq, in order.
func recordsOf(batches []batch, seq uint64) []storage.Record {
	var records []storage.Record

	for _, b := range batches {
		for _, record := range b.Records {
			if record.Seq > seq {
				records = append(records, record)
			}
		}
	}

	return records
}
