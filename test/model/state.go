package model

import (
	"fmt"
	"math/bits"
	"strings"
)

// Sizes. They bound the arrays, not the protocol; a process that runs into one stops,
// which any process may do anyway.
const (
	maxRepos  = 2
	maxProcs  = 4
	maxTokens = 13
	maxGen    = 2 // the newest generation that a deleter makes
)

// set is a set of small numbers: generations, tokens, manifests, processes.
type set uint16

func (s set) has(i uint8) bool { return s&(1<<i) != 0 }
func (s *set) add(i uint8)     { *s |= 1 << i }
func (s *set) drop(i uint8)    { *s &^= 1 << i }

// each calls f with the members in order.
func (s set) each(f func(uint8)) {
	for ; s != 0; s &= s - 1 {
		f(uint8(bits.TrailingZeros16(uint16(s))))
	}
}

func (s set) String() string {
	var parts []string

	s.each(func(i uint8) { parts = append(parts, fmt.Sprint(i)) })

	return "{" + strings.Join(parts, " ") + "}"
}

// State is the bucket, the requests that may still land, and the processes.
type State struct {
	// _blobs/D/data.<n>: the generations that are there, that a PUT If-None-Match
	// and a DELETE under way may still make or remove.
	Data, DataPut, DataDel set

	// _blobs/D/in/<repo>/<seq>-<token>, the same three. A token's repository is that
	// of the process that owns it; InSeq is the number in its name.
	In, InPut, InDel set
	InSeq            [maxTokens]uint8

	Tomb  Tombstone
	Heads [maxRepos]Head
	Procs [maxProcs]Proc

	// Proved has the repositories into which a client brought D by an upload, or by a
	// mount from a repository that holds it. It is no part of the protocol.
	Proved set

	Bad Violation // what the last step broke
	_   uint8
}

// Tombstone is _blobs/D/tombstone. Absent is {0, false}. Its ETag is not here: a
// process knows whether the tombstone is still the one it read (Proc.Saw).
type Tombstone struct {
	Gen       uint8
	Condemned bool
	Late      tombLate // conditional PUTs under way whose ETag is the current one
	_         uint8
}

type tombLate uint8

const (
	lateRevive  tombLate = 1 << iota // condemned -> live
	lateCondemn                      // -> condemned
	lateBump                         // -> live, next generation
)

// Head is <repo>/.zot/head, folded.
type Head struct {
	Refs, Ever set // manifests that name D: now, and at any time

	Late     set // records under way whose ETag is the current one; see record
	LateGone set // what the recRemove among them names

	Gone set // memberships that clients have deleted since the newest sweep record

	Seq       uint8 // of the newest record; the ETag
	Swept     uint8 // of the newest sweep record; 0 = none
	At        uint8 // the token at which manifests have D, plus 1; see Model.Places
	Condemned bool
}

// record is what one may append to a head. In a set of them, manifest m is at
// recManifest+m.
type record uint8

const (
	recCondemn record = iota
	recSweep
	recRenew
	recRemove
	recManifest
)

// Proc is what a process knows. A field that does not matter at PC is zero.
type Proc struct {
	PC   PC
	Task task
	Left uint8 // lives of a client, rounds of a deleter

	Saw   bool // the tombstone is the one that this process read or wrote last
	Gen   uint8
	Known Known

	Token uint8 // tokens used up
	Seq   uint8 // the number in the name of the membership that is being written
	Based bool  // a membership is known, with number Basis, whose bytes were seen
	Basis uint8
	Place uint8 // its token, plus 1; see Model.Places
	Fresh bool  // Known was read since this commit began

	Covered bool // it read, not long ago, that D is not condemned; deleters wait for it
	Lease   bool // it was told that D is there

	Repo   uint8 // deleter: what it works at
	Mine   bool  // deleter: the condemn record that it waited for is in force
	Wait   set   // deleter: who was covered when that was seen
	Listed set   // deleter: what S1 listed; remover: what X1 listed
}

// Known is the state of a repository at the time of its last refresh.
type Known struct {
	Seq   uint8
	Swept uint8
	Gone  set
	Named bool // Refs was not empty
}

// PC is where a process stands: what it will do next.
type PC uint8

// task is what a writer is after.
type task uint8

// Violation is an invariant that a step broke.
type Violation uint8

// The violations.
const (
	None Violation = iota
	Lost
	Moved
	Unknown
	Withdrawn
	Unproved
)

func (v Violation) String() string {
	return [...]string{
		"",
		"I1: a manifest names D, and its bytes are gone",
		"I1: the generation changed under a manifest that names D",
		"I2: \"blob unknown\" during a lease",
		"I2: D cannot be read during a lease",
		"I4: D came into a repository without an upload and without a mount",
	}[v]
}

// known reads the head.
func (h Head) known() Known {
	return Known{Seq: h.Seq, Swept: h.Swept, Gone: h.Gone, Named: h.Refs != 0}
}

// named says whether a manifest of any repository names D.
func (s *State) named() bool {
	for _, head := range s.Heads {
		if head.Refs != 0 {
			return true
		}
	}

	return false
}

// hasPlaces says whether D is where manifests have it.
func (s *State) hasPlaces() bool {
	for _, head := range s.Heads {
		if head.Refs != 0 && !s.In.has(head.At-1) {
			return false
		}
	}

	return true
}

// setTomb replaces the tombstone. What waits for the old ETag never lands.
func (s *State) setTomb(gen uint8, condemned bool) {
	if gen != s.Tomb.Gen && s.named() {
		s.Bad = Moved
	}

	s.Tomb = Tombstone{Gen: gen, Condemned: condemned}

	for i := range s.Procs {
		p := &s.Procs[i]
		p.Saw = false

		if p.PC == atRevive { // its PUT can only get 412 now
			p.PC = atCheck
		}
	}
}

// putData is a PUT If-None-Match of data.<gen>; a duplicate may land later.
func (s *State) putData(gen uint8) {
	s.Data.add(gen)
	s.DataPut.add(gen)
}

// endLease is when a client has committed or given up, or when its time is over.
func (s *State) endLease(p int) {
	s.Procs[p].Covered, s.Procs[p].Lease = false, false

	for i := range s.Procs {
		s.Procs[i].Wait.drop(uint8(p))
	}
}
