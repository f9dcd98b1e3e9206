package storage

import (
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
)

// tagTrace follows a tag back from record to older record. An event is yielded when it is
// known what was before it.
type tagTrace struct {
	tag   Tag
	yield func(knownEvent) bool // false: the loop was left

	waiting *knownEvent // of which that is not known yet

	// perhaps are the records since, newest first, that have deleted the tag if it pointed
	// to a manifest that they delete.
	perhaps []Record
}

// change is what a record has done to a tag.
type change struct {
	action  TagAction // "" = nothing
	digest  digest.Digest
	perhaps bool // it deleted a manifest, or all of them

	time   time.Time
	who    string
	copied bool // from another store
}

func (t *tagTrace) changeBy(record Record) change {
	c := change{time: record.Time, who: record.Who}

	for _, op := range record.Ops {
		at, who := op.by(record)

		switch {
		case (op.Kind == OpSetTag || op.Kind == OpWas && op.Digest != "") && op.Tag == t.tag:
			c = change{action: TagSet, digest: op.Digest, time: at, who: who, copied: !op.Time.IsZero()}
		case (op.Kind == OpDeleteTag || op.Kind == OpWas) && op.Tag == t.tag:
			c = change{action: TagDeleted, time: at, who: who, copied: !op.Time.IsZero()}
		case op.Kind == OpDeleteRepo || op.Kind == OpDeleteManifest && (c.action != TagSet || c.digest == op.Digest):
			if c.action == TagSet {
				c = change{action: TagDeleted, time: record.Time, who: record.Who}
			}

			c.perhaps = c.action == ""
		}
	}

	return c
}

// deletes says whether a record deletes a manifest.
func (r Record) deletes(dgst digest.Digest) bool {
	return slices.ContainsFunc(r.Ops, func(op Op) bool {
		return op.Kind == OpDeleteRepo || op.Kind == OpDeleteManifest && op.Digest == dgst
	})
}

// record takes the next record, and says whether to go on.
func (t *tagTrace) record(record Record) bool {
	c := t.changeBy(record)

	switch {
	case c.perhaps:
		t.perhaps = append(t.perhaps, record)

		return true
	case c.action == "":
		return true
	}

	if deletion, ok := t.deletionOf(c.digest); ok && !t.before(deletion, "") {
		return false
	}

	return t.before(t.event(c.action, record), c.digest)
}

// deletionOf is the first record behind the one that set the tag to a manifest, in which
// that was deleted.
func (t *tagTrace) deletionOf(dgst digest.Digest) (knownEvent, bool) {
	if dgst == "" {
		return knownEvent{}, false
	}

	for _, record := range slices.Backward(t.perhaps) {
		if record.deletes(dgst) {
			return t.event(TagDeleted, record), true
		}
	}

	return knownEvent{}, false
}

func (t *tagTrace) event(action TagAction, record Record) knownEvent {
	c := t.changeBy(record)

	return knownEvent{copied: c.copied, TagEvent: TagEvent{
		Seq: record.Seq, Tag: t.tag, Action: action, Digest: c.digest, Time: c.time, Who: c.who,
	}}
}

// before yields the event that waits: next comes before it, and has left the tag at dgst.
// Then next waits.
func (t *tagTrace) before(next knownEvent, dgst digest.Digest) bool {
	waiting := t.waiting
	t.waiting, t.perhaps = &next, nil

	if waiting == nil {
		return true
	}

	waiting.Before, waiting.known = dgst, true

	return t.yield(*waiting)
}

// end yields what is left. whole says that there are no older records: then there was
// nothing before the first event. Where records are not kept, what can be brought back tells
// more, and what the tag points to now.
func (t *tagTrace) end(st *state, whole bool) {
	entry, exists := st.tags.Get(t.tag)

	switch {
	case t.waiting != nil:
		t.waiting.known = whole && !t.waiting.copied
	case exists:
		t.waiting = &knownEvent{TagEvent: TagEvent{
			Tag: t.tag, Action: TagSet, Digest: entry.Digest, Time: entry.Time, Who: entry.Who,
		}}
	default:
		t.waiting = t.burial(st)
	}

	if t.waiting == nil {
		return
	}

	if b := st.burialOf(t.tag, t.waiting.Seq); b != nil && t.waiting.Action == TagDeleted {
		t.waiting.Before, t.waiting.known = b.Manifest.Digest, true
	}

	t.yield(*t.waiting)
}

// burial is the last deletion of the tag with its manifest.
func (t *tagTrace) burial(st *state) *knownEvent {
	for _, record := range t.perhaps {
		if st.burialOf(t.tag, record.Seq) != nil {
			event := t.event(TagDeleted, record)

			return &event
		}
	}

	return nil
}

// burialOf is a manifest that can be brought back, and that a record has deleted with the
// tag; nil if there is none.
func (s *state) burialOf(tag Tag, seq uint64) *burial {
	var found *burial

	s.burials.Scan(func(_ digest.Digest, b *burial) bool {
		if b.Seq == seq && slices.Contains(b.Tags, tag) {
			found = b
		}

		return found == nil
	})

	return found
}
