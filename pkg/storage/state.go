package storage

import (
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/tidwall/btree"
)

// state is what a repository holds: the fold of its records. A published state is
// never changed. clone copies it in constant time (the trees share their nodes), the
// copy takes a batch of records, and is published when those are durable. So a
// reader needs no lock, and what it reads belongs together.
type state struct {
	copying *sync.Mutex // copying a tree marks it as shared

	seq       uint64 // of the last record folded; 0 = the repository does not exist
	tags      *tagMap
	tagged    *btree.BTreeG[tagPair] // the same by digest
	manifests *btree.Map[digest.Digest, *ManifestRecord]
	refs      *btree.Map[digest.Digest, ref]
	referrers *btree.BTreeG[referrerPair]
	hidden    *btree.Map[digest.Digest, time.Time]
	named     int   // how often manifests name something, for weight
	used      int64 // bytes of manifests and of what they name, each digest once, for quotas

	burials *btree.Map[digest.Digest, *burial] // manifests that can be brought back
	graves  *btree.Map[digest.Digest, int]     // how many of them name a digest, or are it

	condemned *btree.Map[digest.Digest, mark]  // what a deleter waits for
	swept     *btree.Map[digest.Digest, swept] // what does not count any more, of late
	settled   uint64                           // up to this record sweeps are forgotten

	// adopted is the digest of the newest index.json of another program that the
	// records cover, extra what that had at its top beside our fields, kept the
	// entries that could not be taken.
	adopted digest.Digest
	extra   json.RawMessage
	kept    []json.RawMessage
}

type tagPair struct {
	digest digest.Digest
	tag    Tag
}

type referrerPair struct {
	subject  digest.Digest
	manifest *ManifestRecord
}

// ref counts the manifests that name a digest.
type ref struct {
	count   int
	indexes int   // how many of them are indexes, naming a manifest
	size    int64 // as verified; -1 = nobody has seen the bytes
	at      string
}

func newState() *state {
	options := btree.Options{NoLocks: true}

	return &state{
		copying:   new(sync.Mutex),
		tags:      newTagMap(),
		tagged:    btree.NewBTreeGOptions(lessTagPair, options),
		manifests: new(btree.Map[digest.Digest, *ManifestRecord]),
		refs:      new(btree.Map[digest.Digest, ref]),
		referrers: btree.NewBTreeGOptions(lessReferrerPair, options),
		hidden:    new(btree.Map[digest.Digest, time.Time]),
		burials:   new(btree.Map[digest.Digest, *burial]),
		graves:    new(btree.Map[digest.Digest, int]),
		condemned: new(btree.Map[digest.Digest, mark]),
		swept:     new(btree.Map[digest.Digest, swept]),
	}
}

func lessTagPair(a, b tagPair) bool {
	return a.digest < b.digest || a.digest == b.digest && a.tag < b.tag
}

func lessReferrerPair(a, b referrerPair) bool {
	return a.subject < b.subject || a.subject == b.subject && a.manifest.Digest < b.manifest.Digest
}

func (s *state) clone() *state {
	s.copying.Lock()
	defer s.copying.Unlock()

	next := *s
	next.copying = new(sync.Mutex)
	next.tags = s.tags.Copy()
	next.tagged = s.tagged.Copy()
	next.manifests = s.manifests.Copy()
	next.refs = s.refs.Copy()
	next.referrers = s.referrers.Copy()
	next.hidden = s.hidden.Copy()
	next.burials = s.burials.Copy()
	next.graves = s.graves.Copy()
	next.condemned = s.condemned.Copy()
	next.swept = s.swept.Copy()

	return &next
}

// exists says whether anything was ever committed.
func (s *state) exists() bool { return s.seq > 0 }

// resolve finds the manifest that a reference names.
//
// Errors: ErrRepoUnknown, ErrManifestUnknown.
func (s *state) resolve(reference Reference) (*ManifestRecord, error) {
	if !s.exists() {
		return nil, ErrRepoUnknown
	}

	dgst := reference.Digest
	if reference.Tag != "" {
		entry, _ := s.tags.Get(reference.Tag)
		dgst = entry.Digest
	}

	record, ok := s.manifests.Get(dgst)
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrManifestUnknown, reference)
	}

	return record, nil
}

// lookup returns the verified size of a manifest, or of what a manifest names, and its
// place, as far as that is known.
func (s *state) lookup(dgst digest.Digest) (size int64, at string, known bool) {
	if record, ok := s.manifests.Get(dgst); ok {
		return record.Size, record.At, true
	}

	r, ok := s.refs.Get(dgst)

	return r.size, r.at, ok && r.size >= 0
}

// inUse says whether deleting the bytes of dgst would break a manifest.
func (s *state) inUse(dgst digest.Digest) bool {
	if _, ok := s.manifests.Get(dgst); ok {
		return true
	}

	_, ok := s.refs.Get(dgst)

	return ok
}

// inIndex says whether an index names the manifest dgst.
func (s *state) inIndex(dgst digest.Digest) bool {
	r, _ := s.refs.Get(dgst)

	return r.indexes > 0
}

// fold takes a record in. Only a state that is not published yet may be changed.
func (s *state) fold(record Record) {
	s.seq = record.Seq

	for _, op := range record.Ops {
		s.apply(record, op)
	}
}

func (s *state) apply(record Record, op Op) {
	switch op.Kind {
	case OpPutManifest:
		manifest := *op.Manifest
		manifest.Pushed, manifest.Who = op.by(record)
		s.putManifest(&manifest)
	case OpDeleteManifest:
		s.bury(op.Digest, record)
	case OpDeleteRepo:
		for _, dgst := range s.manifests.Keys() {
			s.bury(dgst, record)
		}
	case OpForget:
		s.forget(op.Digest)
	case OpSetTag:
		at, who := op.by(record)
		s.setTag(op.Tag, tagEntry{Digest: op.Digest, Time: at, Who: who, Extra: op.Extra})
	case OpDeleteTag:
		s.deleteTag(op.Tag, record.Time)
	case OpHideBlob:
		s.hidden.Set(op.Digest, record.Time)
		s.dropMembers(op.Digest, record, op.Members)
	case OpShowBlob:
		s.hidden.Delete(op.Digest)
	case OpCondemn:
		s.condemned.Set(op.Digest, mark{record.Seq, record.Time})
	case OpRenew:
		s.condemned.Delete(op.Digest)
	case OpSweep:
		s.condemned.Delete(op.Digest)
		s.swept.Set(op.Digest, swept{mark: mark{record.Seq, record.Time}})
	case OpDropMembers:
		s.dropMembers(op.Digest, record, op.Members)
	case OpForgetSweeps:
		s.forgetSweeps(op.Seq)
	case OpAdoptIndex:
		s.adopted, s.extra, s.kept = op.Digest, op.Extra, op.Kept
	}
}

func (s *state) setTag(tag Tag, entry tagEntry) {
	if manifest, ok := s.manifests.Get(entry.Digest); ok {
		entry.Digest = manifest.Digest // the same string, once in memory
	}

	s.deleteTag(tag, entry.Time)
	s.tags.Set(tag, entry)
	s.tagged.Set(tagPair{digest: entry.Digest, tag: tag})
	s.condemned.Delete(entry.Digest)
}

func (s *state) deleteTag(tag Tag, at time.Time) {
	if old, ok := s.tags.Delete(tag); ok {
		s.tagged.Delete(tagPair{digest: old.Digest, tag: tag})
		s.loosen(old.Digest, at)
	}
}

// loosen notes that something has let go of a manifest.
func (s *state) loosen(dgst digest.Digest, at time.Time) {
	held, ok := s.manifests.Get(dgst)
	if !ok {
		return
	}

	loose := *held
	loose.Loose = at
	s.manifests.Set(dgst, &loose)

	if loose.Subject != "" {
		s.referrers.Set(referrerPair{subject: loose.Subject, manifest: &loose})
	}
}

func (s *state) putManifest(manifest *ManifestRecord) {
	s.dropManifest(manifest.Digest)
	s.forget(manifest.Digest)

	manifest.MediaType, manifest.ArtifactType = intern(manifest.MediaType), intern(manifest.ArtifactType)
	manifest.Who = intern(manifest.Who)
	manifest.Blobs, manifest.Manifests = s.placed(manifest.Blobs), s.placed(manifest.Manifests)
	s.used += manifest.Size - s.sizeOfRef(manifest.Digest)
	s.manifests.Set(manifest.Digest, manifest)
	s.count(manifest, 1)

	// All that it names is there, whatever was said of it before.
	for dgst := range manifest.names() {
		s.hidden.Delete(dgst)
		s.condemned.Delete(dgst)
	}

	if manifest.Subject != "" {
		s.referrers.Set(referrerPair{subject: manifest.Subject, manifest: manifest})
	}
}

// placed is what a manifest names, at the places where others name it already: one counts for
// all, so that GC knows which of several memberships are needed.
func (s *state) placed(named []Ref) []Ref {
	placed := named

	for i, one := range named {
		if one.At == "" && one.Size >= 0 { // a directory has no places
			continue
		}

		had, _ := s.refs.Get(one.Digest)
		if had.at == "" || had.at == one.At {
			continue
		}

		if &placed[0] == &named[0] { // the record is not ours to change
			placed = slices.Clone(named)
		}

		placed[i].At = had.at
	}

	return placed
}

// names yields the manifest's own digest, and those of all that it names.
func (m *ManifestRecord) names() iter.Seq[digest.Digest] {
	return func(yield func(digest.Digest) bool) {
		if !yield(m.Digest) {
			return
		}

		for _, refs := range [][]Ref{m.Blobs, m.Manifests} {
			for _, named := range refs {
				if !yield(named.Digest) {
					return
				}
			}
		}
	}
}

func (s *state) tagsOf(dgst digest.Digest) []Tag {
	var tags []Tag

	s.tagged.Ascend(tagPair{digest: dgst}, func(pair tagPair) bool {
		if pair.digest != dgst {
			return false
		}

		tags = append(tags, pair.tag)

		return true
	})

	return tags
}

func (s *state) dropManifest(dgst digest.Digest) {
	old, ok := s.manifests.Delete(dgst)
	if !ok {
		return
	}

	s.used -= old.Size - s.sizeOfRef(dgst)
	s.count(old, -1)

	if old.Subject != "" {
		s.referrers.Delete(referrerPair{subject: old.Subject, manifest: old})
	}
}

// count adds n to the counts of all that manifest names.
func (s *state) count(manifest *ManifestRecord, n int) {
	s.named += n * (len(manifest.Blobs) + len(manifest.Manifests))

	for _, blob := range manifest.Blobs {
		s.countRef(blob, n, 0)
	}

	for _, child := range manifest.Manifests {
		s.countRef(child, n, n)
	}
}

func (s *state) countRef(named Ref, n, indexes int) {
	r, ok := s.refs.Get(named.Digest)
	if !ok {
		r.size = -1
	}

	before := max(0, r.size)
	r.count += n
	r.indexes += indexes
	r.size = max(r.size, named.Size)
	r.at = cmp.Or(r.at, named.At)

	if r.count == 0 {
		s.refs.Delete(named.Digest)
		s.resize(named.Digest, -before)

		return
	}

	s.refs.Set(named.Digest, r)
	s.resize(named.Digest, max(0, r.size)-before)
}

// resize counts what manifests name that is longer by n bytes. A manifest counts by itself.
func (s *state) resize(dgst digest.Digest, n int64) {
	if n == 0 {
		return
	}

	if _, ok := s.manifests.Get(dgst); !ok {
		s.used += n
	}
}

// sizeOfRef is the size of what manifests name, 0 if none does, or nobody has seen it.
func (s *state) sizeOfRef(dgst digest.Digest) int64 {
	r, _ := s.refs.Get(dgst)

	return max(0, r.size)
}

// weight estimates the memory that the state takes, in bytes. The figures per entry
// are sizes of the structs with their strings and a share of the tree's nodes.
func (s *state) weight() int64 {
	return 2048 + 200*int64(s.tags.Len()) + 500*int64(s.manifests.Len()) + 150*int64(s.refs.Len()) + 120*int64(s.named) +
		700*int64(s.burials.Len()) + 120*int64(s.graves.Len()+s.condemned.Len()+s.swept.Len())
}
