package s3

import (
	"encoding/json"
	"fmt"
	"slices"
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
	Name  string `json:"name"`
}

type droppedRef struct {
	Name string    `json:"name"`
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

	return &h, checkBatches(h.Batches)
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

// rolled returns a head whose batches are in a segment.
func (h *head) rolled(name string) *head {
	changed := *h
	changed.Segments = append(slices.Clip(h.Segments), segmentRef{
		First: h.Batches[0].first(), Last: h.Seq, Name: name,
	})
	changed.Batches = nil

	return &changed
}

// covered is the number up to which the checkpoint reaches.
func (h *head) covered() uint64 {
	if h.Checkpoint == nil {
		return 0
	}

	return h.Checkpoint.Seq
}

// checkpointed returns a head with a new checkpoint. What the one before needs stays;
// what nobody needs any more is put aside, now.
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
		if changed.Before != nil && segment.Last <= changed.Before.Seq {
			changed.Dropped = append(changed.Dropped, droppedRef{segment.Name, now})
		} else {
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
