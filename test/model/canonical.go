package model

import "slices"

// canonical renumbers the records of each repository. Only comparisons count: the
// number of a membership or of a known state with those of sweep records, and a known
// state with the head. So the head's and the sweeps' numbers become 1, 2, 3, ... and
// every other one falls to the next of them below.
func (m *Model) canonical(s State) State {
	for r := range m.repos() {
		m.renumber(&s, r)
	}

	return s
}

func (m *Model) renumber(s *State, r int) {
	head := &s.Heads[r]
	marks := make([]uint8, 0, maxProcs+2)
	marks = append(marks, head.Seq, head.Swept)

	for i, p := range s.Procs[:len(m.Roles)] {
		if m.knows(i, p) == r {
			marks = append(marks, p.Known.Swept)
		}
	}

	slices.Sort(marks)

	// rank is how many different marks, 0 left out, are at most x.
	rank := func(x uint8) uint8 {
		var n, last uint8

		for _, mark := range marks {
			if mark > last && mark <= x {
				n++
				last = mark
			}
		}

		return n
	}

	m.tokensOf(uint8(r)).each(func(t uint8) { s.InSeq[t] = rank(s.InSeq[t]) })

	for i := range s.Procs[:len(m.Roles)] {
		p := &s.Procs[i]
		if m.knows(i, *p) == r {
			p.Known.Seq, p.Known.Swept = rank(p.Known.Seq), rank(p.Known.Swept)
			p.Seq, p.Basis = rank(p.Seq), rank(p.Basis)
		}
	}

	head.Seq, head.Swept = rank(head.Seq), rank(head.Swept)
}

// knows says of which repository a process keeps numbers.
func (m *Model) knows(i int, p Proc) int {
	role := m.Roles[i]

	switch {
	case role.Kind == Delete:
		return int(p.Repo)
	case p.Task == mountFrom:
		return int(role.From)
	default:
		return int(role.Repo)
	}
}

// swapped is the state in which processes 0 and 1 have changed places.
func (m *Model) swapped(s State) State {
	s.Procs[0], s.Procs[1] = s.Procs[1], s.Procs[0]

	for k := range uint8(tokensEach) {
		a, b := firstToken(0)+k, firstToken(1)+k
		s.InSeq[a], s.InSeq[b] = s.InSeq[b], s.InSeq[a]

		for _, tokens := range []*set{&s.In, &s.InPut, &s.InDel} {
			tokens.swap(a, b)
		}
	}

	for i := range s.Procs {
		s.Procs[i].Wait.swap(0, 1)

		for k := range uint8(tokensEach) {
			s.Procs[i].Listed.swap(firstToken(0)+k, firstToken(1)+k)
			s.Procs[i].Known.Gone.swap(firstToken(0)+k, firstToken(1)+k)
		}
	}

	for r := range s.Heads {
		for k := range uint8(tokensEach) {
			s.Heads[r].Gone.swap(firstToken(0)+k, firstToken(1)+k)
			s.Heads[r].LateGone.swap(firstToken(0)+k, firstToken(1)+k)
		}

		for k := range uint8(manifestsEach) {
			a, b := firstManifest(0)+k, firstManifest(1)+k
			s.Heads[r].Refs.swap(a, b)
			s.Heads[r].Ever.swap(a, b)
			s.Heads[r].Late.swap(uint8(recManifest)+a, uint8(recManifest)+b)
		}
	}

	return s
}

func (s *set) swap(i, j uint8) {
	if s.has(i) != s.has(j) {
		*s ^= 1<<i | 1<<j
	}
}
