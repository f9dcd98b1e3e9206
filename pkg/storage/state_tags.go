package storage

import (
	"encoding/json"
	"math"
	"time"
	"unique"

	"github.com/opencontainers/go-digest"
	"github.com/tidwall/btree"
)

// tagEntry is what a tag points to.
type tagEntry struct {
	Digest digest.Digest   `json:"digest"`
	Time   time.Time       `json:"time"`
	Who    string          `json:"who,omitempty"`
	Extra  json.RawMessage `json:"extra,omitempty"`
}

// tagMap holds the tags of a state, in order. A repository may have a million of them, so an
// entry is kept in half of the memory that it has outside.
type tagMap struct{ tree *btree.Map[Tag, packedTag] }

type packedTag struct {
	digest digest.Digest
	time   int64                 // Unix nanoseconds; noTime
	who    unique.Handle[string] // few users push many tags
	extra  *json.RawMessage      // nil nearly always
}

// noTime stands for the zero time.
const noTime = math.MinInt64

func newTagMap() *tagMap { return &tagMap{new(btree.Map[Tag, packedTag])} }

func pack(entry tagEntry) packedTag {
	packed := packedTag{digest: entry.Digest, time: noTime, who: unique.Make(entry.Who)}

	if !entry.Time.IsZero() {
		packed.time = entry.Time.UnixNano()
	}

	if entry.Extra != nil {
		packed.extra = &entry.Extra
	}

	return packed
}

func (p packedTag) entry() tagEntry {
	entry := tagEntry{Digest: p.digest, Who: p.who.Value()}

	if p.time != noTime {
		entry.Time = time.Unix(0, p.time).UTC()
	}

	if p.extra != nil {
		entry.Extra = *p.extra
	}

	return entry
}

func (m *tagMap) Len() int { return m.tree.Len() }

func (m *tagMap) Copy() *tagMap { return &tagMap{m.tree.Copy()} }

func (m *tagMap) Get(tag Tag) (entry tagEntry, ok bool) {
	packed, ok := m.tree.Get(tag)
	if !ok {
		return tagEntry{}, false
	}

	return packed.entry(), true
}

func (m *tagMap) Set(tag Tag, entry tagEntry) { m.tree.Set(tag, pack(entry)) }

func (m *tagMap) Delete(tag Tag) (old tagEntry, ok bool) {
	packed, ok := m.tree.Delete(tag)
	if !ok {
		return tagEntry{}, false
	}

	return packed.entry(), true
}

// Scan yields all tags, until yield says no.
func (m *tagMap) Scan(yield func(Tag, tagEntry) bool) {
	m.tree.Scan(func(tag Tag, packed packedTag) bool { return yield(tag, packed.entry()) })
}

// Keys are all tags.
func (m *tagMap) Keys() []Tag { return m.tree.Keys() }

// intern returns an equal string that all share: of what a million records say in a few ways
// memory holds one copy.
func intern(s string) string { return unique.Make(s).Value() }
