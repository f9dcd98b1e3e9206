package storage

import (
	"encoding/json"

	"github.com/opencontainers/go-digest"
)

// adoption returns what has to be done so that pending takes in what index changes
// from base; found has the manifests that pending lacks. Without a base only what is
// not there is taken: no tag is moved and nothing deleted. With one, what we have
// changed ourselves since stays ours. Entries that cannot be taken are to be kept: what
// they name may still be on its way, or be of use to another program.
func adoption(
	index *foreignIndex, found map[digest.Digest]*ManifestRecord, base, pending *state,
) (ops []Op, kept []json.RawMessage) {
	a := &adopter{
		base: base, pending: pending, found: found,
		named: map[digest.Digest]bool{}, tagged: map[Tag]bool{},
	}

	for _, entry := range index.entries {
		a.take(entry)
	}

	a.removed()

	return a.ops, a.kept
}

// adopter collects the operations of one adoption.
type adopter struct {
	base    *state // nil = unknown
	pending *state
	found   map[digest.Digest]*ManifestRecord
	ops     []Op
	kept    []json.RawMessage
	named   map[digest.Digest]bool // manifests that the index names, by itself or in an index; true = there
	tagged  map[Tag]bool           // tags in the index
}

// take adopts one entry of the index.
func (a *adopter) take(entry foreignEntry) {
	extra := entry.extra
	if entry.tag != "" {
		extra = nil // kept with the tag
	}

	tag, err := ParseTag(entry.tag)
	if err == nil {
		a.tagged[tag] = true
	}

	there := entry.Digest != "" && a.manifest(entry.Digest, extra)
	if !there || err != nil && entry.tag != "" {
		a.kept = append(a.kept, entry.raw)
	}

	if there && err == nil && a.movesTag(tag, entry.Digest) {
		a.ops = append(a.ops, Op{Kind: OpSetTag, Tag: tag, Digest: entry.Digest, Extra: entry.extra})
	}
}

// movesTag says whether the index wants tag elsewhere than it is, and may have it.
func (a *adopter) movesTag(tag Tag, to digest.Digest) bool {
	now, exists := a.pending.tags.Get(tag)

	if a.base == nil {
		return !exists
	}

	was, had := a.base.tags.Get(tag)
	unmoved := exists == had && now.Digest == was.Digest

	return unmoved && now.Digest != to
}

// manifest adopts a manifest and what it names, and says whether it is there.
func (a *adopter) manifest(dgst digest.Digest, extra json.RawMessage) bool {
	if there, seen := a.named[dgst]; seen {
		return there
	}

	record, there := a.pending.manifests.Get(dgst)
	a.named[dgst] = there

	if !there {
		if record = a.found[dgst]; record == nil || a.deletedSince(dgst) {
			return false
		}

		a.named[dgst] = true
	}

	for _, child := range record.Manifests {
		a.manifest(child.Digest, nil)
	}

	if !there {
		adopted := *record
		adopted.Extra = extra
		a.ops = append(a.ops, Op{Kind: OpPutManifest, Manifest: &adopted})
	}

	return true
}

// deletedSince says whether a manifest that we lack was there when the other program
// started: then we have deleted it.
func (a *adopter) deletedSince(dgst digest.Digest) bool {
	if a.base == nil {
		return false
	}

	_, had := a.base.manifests.Get(dgst)

	return had
}

// removed adopts that tags and manifests have gone from the index since base.
func (a *adopter) removed() {
	if a.base == nil {
		return
	}

	a.base.tags.Scan(func(tag Tag, was tagEntry) bool {
		if now, exists := a.pending.tags.Get(tag); exists && !a.tagged[tag] && now.Digest == was.Digest {
			a.ops = append(a.ops, Op{Kind: OpDeleteTag, Tag: tag})
		}

		return true
	})
	a.base.manifests.Scan(func(dgst digest.Digest, _ *ManifestRecord) bool {
		if _, named := a.named[dgst]; !named && a.unused(dgst) {
			a.ops = append(a.ops, Op{Kind: OpDeleteManifest, Digest: dgst})
		}

		return true
	})
}

// unused says whether nothing of ours, neither a tag set since nor an index, needs a
// manifest that the other program has removed.
func (a *adopter) unused(dgst digest.Digest) bool {
	if _, ok := a.pending.manifests.Get(dgst); !ok || a.pending.inIndex(dgst) {
		return false
	}

	for _, tag := range a.pending.tagsOf(dgst) {
		if was, had := a.base.tags.Get(tag); !had || was.Digest != dgst || a.tagged[tag] {
			return false
		}
	}

	return true
}
