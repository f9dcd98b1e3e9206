package model

import "hash/maphash"

// Model is a configuration: who does what, by which rules.
type Model struct {
	Rules

	Roles []Role
	Begin func(*State) // the bucket at first; nil = empty. Token 0 and manifest 0 are its own.

	// Leases honours delays: a client with a positive answer either commits in time or
	// gives up, and S3 waits for it. Without, all may stop anywhere for any time.
	Leases bool

	// Prompt leaves late requests out: what is not answered never happened.
	Prompt bool

	// Places says that the bytes are in the memberships, too: manifests have D at one of them.
	// Only with Prompt, and without Twins.
	Places bool

	// Twins says that processes 0 and 1 have the same role.
	Twins bool

	repoCount int  // see repos
	removes   bool // a role is Remove

	collected  map[uint64]bool // see collectable
	collecting bool            // the same
}

// Role is what a process does.
type Role struct {
	Kind   Kind
	Repo   uint8
	From   uint8 // of a mount
	Commit Commits
	Lives  uint8 // how often a client tries, each time knowing nothing; the rounds of a deleter
}

// Kind is a kind of process.
type Kind uint8

// The kinds.
const (
	Idle   Kind = iota
	Upload      // uploads D to Repo
	Mount       // mounts D from From into Repo
	Ask         // HEADs D in Repo
	Commit      // commits a manifest that names D, because somebody else uploaded it
	Remove      // deletes D in Repo, for a client
	Thin        // drops memberships of Repo that are not needed besides another
	Delete      // a deleter of all repositories and the pool
)

// Commits says who handles the client's manifest.
type Commits uint8

// The ways.
const (
	Nowhere   Commits = iota // the client does not commit
	Here                     // the replica that gave the positive answer
	Elsewhere                // another one, which knows of no membership and of no record
)

const tokensEach = 3 // per process, for all its lives

// Init implements System.
func (m *Model) Init() State {
	m.repoCount = 0
	for _, role := range m.Roles {
		m.repoCount = max(m.repoCount, int(role.Repo)+1, int(role.From)+1)
		m.removes = m.removes || role.Kind == Remove
	}

	var s State
	if m.Begin != nil {
		m.Begin(&s)
	}

	for i, role := range m.Roles {
		s.Procs[i].Left = role.Lives
		s.Procs[i].PC = atStart
	}

	return m.canonical(s)
}

// Next implements System.
func (m *Model) Next(s State, emit func(Step, State)) {
	out := func(proc int, text string, arg uint8, next State) {
		emit(Step{Proc: proc, Text: text, Arg: int(arg)}, m.canonical(next))
	}

	for i, role := range m.Roles {
		a := actor{Model: m, role: role, i: i, s: s, out: out}

		switch role.Kind {
		case Idle:
		case Remove:
			a.stepRemover()
		case Thin:
			a.stepThinner()
		case Delete:
			a.stepDeleter()
		default:
			a.stepWriter()
		}
	}

	m.stepLate(s, out)
	m.stepClients(s, out)
}

// actor is a process that is about to take a step from state s.
type actor struct {
	*Model
	role Role
	i    int
	s    State
	out  func(proc int, text string, arg uint8, next State)
}

// me is the process in a copy of the state.
func (a *actor) me(n *State) *Proc { return &n.Procs[a.i] }

func (a *actor) emit(text string, arg uint8, next State) { a.out(a.i, text, arg, next) }

// do emits the state that change makes.
func (a *actor) do(text string, arg uint8, change func(n *State, p *Proc)) {
	n := a.s
	change(&n, &n.Procs[a.i])
	a.emit(text, arg, n)
}

// late is do for a request whose answer is lost and that has not landed yet.
func (a *actor) late(text string, arg uint8, change func(n *State, p *Proc)) {
	if !a.Prompt {
		a.do(text+": no answer, may land later", arg, change)
	}
}

// stepLate lets a request land that a process sent at any time before.
func (m *Model) stepLate(s State, out func(int, string, uint8, State)) {
	land := func(text string, arg uint8, change func(n *State)) {
		n := s
		change(&n)
		out(environment, "late: "+text, arg, n)
	}

	(s.InPut &^ s.In).each(func(t uint8) {
		land("PUT in/t%d", t, func(n *State) { n.In.add(t) })
	})
	(s.InDel & s.In).each(func(t uint8) {
		land("DELETE in/t%d", t, func(n *State) { n.In.drop(t) })
	})
	(s.DataPut &^ s.Data).each(func(g uint8) {
		land("PUT data.%d", g, func(n *State) { n.Data.add(g) })
	})
	(s.DataDel & s.Data).each(func(g uint8) {
		land("DELETE data.%d", g, func(n *State) { n.Data.drop(g) })
	})

	m.landTomb(s, land)

	for r := range s.Heads {
		s.Heads[r].Late.each(func(bit uint8) {
			land("a record of "+repoName(r)+" ("+recordName(bit)+")", 0, func(n *State) { m.append(n, r, record(bit)) })
		})
	}
}

func (m *Model) landTomb(s State, land func(string, uint8, func(*State))) {
	gen := s.Tomb.Gen

	if s.Tomb.Late&lateRevive != 0 {
		land("tombstone live %d", gen, func(n *State) { n.setTomb(gen, false) })
	}

	if s.Tomb.Late&lateCondemn != 0 {
		land("tombstone condemned %d", gen, func(n *State) { n.setTomb(gen, true) })
	}

	if s.Tomb.Late&lateBump != 0 {
		land("tombstone live %d", m.bumped(gen), func(n *State) { n.setTomb(m.bumped(gen), false) })
	}
}

// bumped is the generation after gen.
func (m *Model) bumped(gen uint8) uint8 {
	if m.SameGen {
		return gen
	}

	return gen + 1
}

// stepClients lets a client delete a manifest. Reading the head and the conditional
// PUT are one step: it succeeds only if nothing came between.
func (m *Model) stepClients(s State, out func(int, string, uint8, State)) {
	for r := range s.Heads {
		s.Heads[r].Refs.each(func(manifest uint8) {
			n := s
			head := &n.Heads[r]
			head.Refs.drop(manifest)
			head.Seq++
			head.Late, head.LateGone = 0, 0

			if head.Refs == 0 {
				head.At = 0
			}

			out(environment, "a client deletes manifest %d", manifest, n)
		})
	}
}

// append puts a record into the head of r. What waits for the old ETag never lands.
func (m *Model) append(n *State, r int, rec record) {
	head := &n.Heads[r]
	head.Seq++
	gone := head.LateGone
	head.Late, head.LateGone = 0, 0

	if rec != recRemove && (rec != recSweep || !m.SweepKeeps) {
		head.Condemned = rec == recCondemn

		for i := range n.Procs {
			if int(n.Procs[i].Repo) == r {
				n.Procs[i].Mine = false
			}
		}
	}

	switch rec {
	case recCondemn, recRenew:
	case recSweep:
		if !m.NoSwept {
			head.Swept, head.Gone = head.Seq, 0
		}
	case recRemove:
		m.remove(n, r, gone)
	default:
		head.Refs.add(uint8(rec - recManifest))
		head.Ever.add(uint8(rec - recManifest))

		if !n.Proved.has(uint8(r)) {
			n.Bad = Unproved
		}
	}
}

// Check implements System.
func (m *Model) Check(s State) string {
	if s.Bad != None {
		return s.Bad.String()
	}

	for i, p := range s.Procs {
		if p.Lease && !m.readable(s, m.Roles[i].Repo) {
			return Withdrawn.String()
		}
	}

	if s.named() {
		if !s.Data.has(s.Tomb.Gen) || m.Places && !s.hasPlaces() {
			return Lost.String()
		}

		return ""
	}

	if !m.collectable(s) {
		return "I3: garbage that no deleter takes"
	}

	return ""
}

// readable says whether a replica that knows the newest state of r answers 200 for D.
func (m *Model) readable(s State, r uint8) bool {
	counts := s.Heads[r].Refs != 0

	(s.In & m.tokensOf(r)).each(func(t uint8) {
		counts = counts || m.Blind || s.Heads[r].known().counts(t, s.InSeq[t])
	})

	return counts && s.Data.has(s.Tomb.Gen)
}

var seed = maphash.MakeSeed()

// Key implements System.
func (m *Model) Key(s State) uint64 {
	key := maphash.Comparable(seed, s)
	if m.Twins {
		key = min(key, maphash.Comparable(seed, m.swapped(s)))
	}

	return max(key, 1) // 0 = free in a table
}

// tokensOf returns the tokens of the processes that work for r, and the one that was
// there at first.
func (m *Model) tokensOf(r uint8) set {
	var tokens set
	if r == 0 {
		tokens.add(0)
	}

	for i, role := range m.Roles {
		if role.Kind != Delete && role.Repo == r {
			for k := range tokensEach {
				tokens.add(firstToken(i) + uint8(k))
			}
		}
	}

	return tokens
}

func firstToken(proc int) uint8 { return uint8(1 + tokensEach*proc) }
