package storage

import (
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
)

// This file is what a state keeps of manifests that were deleted: they can be brought back,
// and so they need their bytes.

// burial is a manifest that was deleted.
type burial struct {
	Manifest *ManifestRecord `json:"manifest"`
	Tags     []Tag           `json:"tags,omitempty"` // that went with it
	Seq      uint64          `json:"seq"`            // of the record that deleted it
	Time     time.Time       `json:"time"`
	Who      string          `json:"who,omitempty"`
}

// bury removes a manifest and all tags that point to it, and remembers them.
func (s *state) bury(dgst digest.Digest, record Record) {
	manifest, ok := s.manifests.Get(dgst)
	if !ok {
		return
	}

	tags := s.tagsOf(dgst)
	for _, tag := range tags {
		s.deleteTag(tag, record.Time)
	}

	s.dropManifest(dgst)
	s.letGo(manifest, record.Time)
	s.entomb(&burial{Manifest: manifest, Tags: tags, Seq: record.Seq, Time: record.Time, Who: record.Who})
}

// letGo loosens what a manifest has held: its children, if it is an index, and its
// referrers.
func (s *state) letGo(manifest *ManifestRecord, at time.Time) {
	for _, child := range manifest.Manifests {
		s.loosen(child.Digest, at)
	}

	for _, referrer := range slices.Collect(s.referrersOf(ReferrerQuery{Subject: manifest.Digest})) {
		s.loosen(referrer.Digest, at)
	}
}

// entomb remembers a manifest that was deleted.
func (s *state) entomb(b *burial) {
	s.forget(b.Manifest.Digest)
	s.burials.Set(b.Manifest.Digest, b)

	for dgst := range b.Manifest.names() {
		n, _ := s.graves.Get(dgst)
		s.graves.Set(dgst, n+1)
	}
}

// forget drops what is remembered of a manifest that was deleted.
func (s *state) forget(dgst digest.Digest) {
	b, ok := s.burials.Delete(dgst)
	if !ok {
		return
	}

	for dgst := range b.Manifest.names() {
		if n, _ := s.graves.Get(dgst); n > 1 {
			s.graves.Set(dgst, n-1)
		} else {
			s.graves.Delete(dgst)
		}
	}
}

// inGrave says whether a manifest that can be brought back needs the bytes of dgst.
func (s *state) inGrave(dgst digest.Digest) bool {
	_, ok := s.graves.Get(dgst)

	return ok
}
