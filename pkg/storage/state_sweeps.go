package storage

import (
	"cmp"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
)

// This file is what a state keeps of blobs that were deleted, or are about to be. In a bucket
// whoever decides by what was seen there asks here whether it still counts
// (docs/s3-format.md, "Deleting").

// mark is a record that says something of a digest.
type mark struct {
	Seq  uint64    `json:"seq"`
	Time time.Time `json:"time"`
}

// swept is what does not count of a digest's memberships: those that are older than the last
// sweep, which mark is, and those that clients have deleted since.
type swept struct {
	mark

	Deleted uint64   `json:"deleted,omitempty"` // the newest record since that has dropped some; 0 = none
	Members []string `json:"members,omitempty"` // their places
}

func (s *state) isHidden(dgst digest.Digest) bool {
	_, ok := s.hidden.Get(dgst)

	return ok
}

// hiddenSince says whether a blob was deleted since it was looked at.
func (s *state) hiddenSince(named Ref) bool {
	at, hidden := s.hidden.Get(named.Digest)

	return hidden && !at.Equal(named.hidden)
}

// sweptSince says whether what held dgst by a state of number seen may be gone by now.
func (s *state) sweptSince(dgst digest.Digest, seen uint64) bool {
	gone, _ := s.swept.Get(dgst)

	return max(gone.Seq, gone.Deleted, s.settled) > seen
}

// countsFrom is the number from which on memberships of dgst are sure to count, unless a
// client deletes them.
func (s *state) countsFrom(dgst digest.Digest) uint64 {
	gone, _ := s.swept.Get(dgst)

	return max(gone.Seq, s.settled)
}

// counted says which memberships of dgst count.
func (s *state) counted(dgst digest.Digest) Counts {
	gone, _ := s.swept.Get(dgst)

	return func(place string, seq uint64) bool { return seq >= gone.Seq && !slices.Contains(gone.Members, place) }
}

// surplus returns those of the listed memberships of dgst that are not needed. One is: that at the
// place where manifests say that the bytes are or, if they are shared, the newest. As long as it
// is not there, none is surplus.
func (s *state) surplus(dgst digest.Digest, listed []Member) []Member {
	places, counts := s.placesOf(dgst), s.counted(dgst)
	isNamed := func(m Member) bool { return slices.Contains(places, m.place()) }

	counted := slices.DeleteFunc(slices.Clone(listed), func(m Member) bool { return !counts(m.place(), m.Seq) })

	switch {
	case len(places) == 0 || len(counted) < 2:
		return nil
	case slices.ContainsFunc(counted, isNamed):
		return slices.DeleteFunc(counted, isNamed)
	case slices.ContainsFunc(counted, func(m Member) bool { return m.Own }):
		return nil
	}

	slices.SortFunc(counted, func(a, b Member) int { return cmp.Or(cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.Key, b.Key)) })

	return counted[:len(counted)-1]
}

// placesOf is where manifests say that dgst is; nothing where none names it.
func (s *state) placesOf(dgst digest.Digest) []string {
	var places []string

	if record, ok := s.manifests.Get(dgst); ok && record.At != "" {
		places = append(places, record.At)
	}

	if named, ok := s.refs.Get(dgst); ok && named.at != "" {
		places = append(places, named.at)
	}

	return places
}

// dropMembers notes that a record has dropped memberships.
func (s *state) dropMembers(dgst digest.Digest, record Record, members []string) {
	if len(members) == 0 {
		return
	}

	gone, _ := s.swept.Get(dgst)
	gone.Deleted, gone.Time = record.Seq, record.Time
	gone.Members = slices.Concat(gone.Members, members)
	s.swept.Set(dgst, gone)
}

// forgetSweeps drops the sweeps and deletions up to record seq.
func (s *state) forgetSweeps(seq uint64) {
	for _, dgst := range s.swept.Keys() {
		if gone, _ := s.swept.Get(dgst); max(gone.Seq, gone.Deleted) <= seq {
			s.swept.Delete(dgst)
		}
	}

	s.settled = max(s.settled, seq)
}

func (s *state) isCondemned(dgst digest.Digest) bool {
	_, ok := s.condemned.Get(dgst)

	return ok
}
