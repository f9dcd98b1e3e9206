package storage

import (
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

	Deleted uint64   `json:"deleted,omitempty"` // the record of the newest deletion since; 0 = none
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

// dropMembers notes that a record has deleted memberships.
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
