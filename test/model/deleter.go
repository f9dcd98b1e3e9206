package model

import "hash/maphash"

// stepDeleter emits what a deleter can do. It chooses what to do next at random, so it
// stands for deleters of any order.
func (a *actor) stepDeleter() {
	p := a.s.Procs[a.i]

	if p.PC != atStart && p.PC != atEnd && p.Left > 0 {
		a.do("crashes; another deleter starts", 0, func(n *State, _ *Proc) { a.rest(n) })
	}

	switch p.PC {
	case atStart:
		for repo := range uint8(a.repos()) {
			a.stepCondemn(repo)
			a.stepDead(repo)
		}

		a.stepOld()
		a.stepD1()
	case atS2:
		a.stepCondemn(p.Repo)
	case atS4:
		a.stepSweep(p)
	case atS5:
		a.stepS5(p)
	default:
		a.stepPool(p)
	}
}

// repos is how many repositories the roles use.
func (m *Model) repos() int { return m.repoCount }

// rest ends a round.
func (a *actor) rest(n *State) {
	p := a.me(n)

	*p = Proc{PC: atStart, Left: p.Left}
	if p.Left == 0 {
		p.PC = atEnd
	}
}

// round begins a round, or goes on with one.
func (a *actor) round(p *Proc, repo uint8) {
	if p.PC == atStart {
		p.Left--
	}

	p.Repo = repo
}

// stepCondemn is S1 and S2. Reading the head and appending to it are one step.
func (a *actor) stepCondemn(repo uint8) {
	head := a.s.Heads[repo]
	p := a.s.Procs[a.i]

	if a.ListedBefore && p.PC == atStart {
		a.do("S1 LIST in/ of "+repoName(int(repo)), 0, func(n *State, me *Proc) {
			a.round(me, repo)
			me.Listed, me.PC = n.In&a.tokensOf(repo), atS2
		})

		return
	}

	if head.Refs != 0 {
		if p.PC == atS2 {
			a.do("S2 GET head: D is named", 0, func(n *State, _ *Proc) { a.rest(n) })
		}

		return
	}

	wait := a.covered()
	if a.WaitFromSend && p.PC == atS2 && !a.ListedBefore {
		wait = p.Wait
	}

	if head.Condemned && !a.AnyCondemn {
		a.do("S2 GET head of "+repoName(int(repo))+": condemned", 0, func(_ *State, me *Proc) {
			a.round(me, repo)
			me.PC, me.Mine, me.Wait = atS4, true, wait
		})

		return
	}

	a.do("S2 append condemn to "+repoName(int(repo)), 0, func(n *State, me *Proc) {
		a.round(me, repo)
		a.append(n, int(repo), recCondemn)
		me.PC, me.Mine, me.Wait = atS4, true, wait
	})
	a.late("S2 append condemn to "+repoName(int(repo)), 0, func(n *State, me *Proc) {
		a.round(me, repo)
		n.Heads[repo].Late.add(uint8(recCondemn))

		if a.WaitFromSend {
			me.PC, me.Wait = atS2, wait
		} else {
			a.rest(n)
		}
	})
}

// covered is who may give, or has, a positive answer that rests on a state in which D
// was not condemned.
func (a *actor) covered() set {
	var covered set

	for i, p := range a.s.Procs {
		if p.Covered {
			covered.add(uint8(i))
		}
	}

	return covered
}

// stepSweep is S3 and S4.
func (a *actor) stepSweep(p Proc) {
	if p.Wait != 0 && !a.NoWait {
		return
	}

	head := a.s.Heads[p.Repo]

	if head.Refs != 0 && !a.SweepAnyway || !head.Condemned || !p.Mine && !a.AnyCondemn {
		a.do("S4 GET head: named, or not condemned", 0, func(n *State, _ *Proc) { a.rest(n) })

		return
	}

	a.do("S4 append sweep", 0, func(n *State, me *Proc) {
		if !a.NoFence {
			a.append(n, int(p.Repo), recSweep)
		}

		me.Known = Known{Swept: n.Heads[p.Repo].Swept, Gone: n.Heads[p.Repo].Gone}
		me.PC, me.Mine, me.Wait = atS5, false, 0
	})
	a.late("S4 append sweep", 0, func(n *State, _ *Proc) {
		n.Heads[p.Repo].Late.add(uint8(recSweep))
		a.rest(n)
	})
}

// stepS5 sends DELETEs. Each lands when it likes.
func (a *actor) stepS5(p Proc) {
	victims := a.s.In & a.tokensOf(p.Repo)

	switch {
	case a.ListedBefore:
		victims = p.Listed
	case !a.FreshList:
		victims = a.dead(victims, p.Known)
	}

	a.do("S5 LIST in/, DELETE "+victims.String(), 0, func(n *State, _ *Proc) {
		n.InDel |= victims
		a.rest(n)
	})
}

func (a *actor) dead(tokens set, known Known) set {
	tokens.each(func(t uint8) {
		if known.counts(t, a.s.InSeq[t]) {
			tokens.drop(t)
		}
	})

	return tokens
}

// stepDead is S5 for a sweep whose deleter did not come to it.
func (a *actor) stepDead(repo uint8) {
	known := Known{Swept: a.s.Heads[repo].Swept, Gone: a.s.Heads[repo].Gone}
	if a.ListedBefore || a.dead(a.s.In&a.tokensOf(repo), known)&^a.s.InDel == 0 {
		return
	}

	a.do("S5 GET head of "+repoName(int(repo)), 0, func(_ *State, me *Proc) {
		a.round(me, repo)
		me.PC, me.Known = atS5, known
	})
}

// stepOld is D7: generations before the current one are garbage.
func (a *actor) stepOld() {
	gen := a.s.Tomb.Gen

	if old := a.s.Data & (1<<gen - 1); old&^a.s.DataDel != 0 {
		a.do("D7 GET tombstone: %d, DELETE data of older generations", gen, func(n *State, me *Proc) {
			a.round(me, 0)
			n.DataDel |= old
			a.rest(n)
		})
	}
}

// stepD1 is D1.
func (a *actor) stepD1() {
	if a.s.In == 0 || a.NoFirstList {
		a.do("D1 LIST in/: empty", 0, func(_ *State, me *Proc) {
			a.round(me, 0)
			me.PC = atD2
		})
	}
}

// stepPool is D2 and what follows.
func (a *actor) stepPool(p Proc) {
	switch p.PC {
	case atD2:
		a.stepD2()
	case atD4:
		if a.s.In != 0 && !a.NoSecondList {
			a.do("D4 LIST in/: not empty", 0, func(n *State, _ *Proc) { a.rest(n) })

			if p.Saw {
				a.do("D4 LIST in/: not empty, PUT tombstone: live", 0, func(n *State, _ *Proc) {
					n.setTomb(p.Gen, false)
					a.rest(n)
				})
			}

			return
		}

		a.do("D4 LIST in/: empty", 0, func(_ *State, me *Proc) {
			if me.PC = atD5; a.DeleteFirst {
				me.PC = atD6
			}
		})
	case atD5:
		a.stepD5(p)
	case atD6:
		a.do("D6 DELETE data.0 ... data.%d", p.Gen, func(n *State, me *Proc) {
			n.DataDel |= 1<<(p.Gen+1) - 1

			if a.DeleteFirst {
				me.PC = atD5
			} else {
				a.rest(n)
			}
		})
	}
}

// stepD2 reads the tombstone and condemns it on its ETag, in one step.
func (a *actor) stepD2() {
	tomb := a.s.Tomb

	switch {
	case a.NoCondemn:
		a.do("D2 GET tombstone: %d", tomb.Gen, func(_ *State, me *Proc) {
			me.PC, me.Saw, me.Gen = atD4, true, tomb.Gen
		})

		return
	case tomb.Condemned && a.NoTakeOver:
		a.do("D2 GET tombstone: condemned", 0, func(n *State, _ *Proc) { a.rest(n) })

		return
	case tomb.Condemned && !a.ReplaceOthers:
		a.do("D2 GET tombstone: condemned, takes it over", 0, func(_ *State, me *Proc) {
			me.PC, me.Saw, me.Gen = atD4, true, tomb.Gen
		})

		return
	}

	a.do("D2 PUT tombstone: condemned %d", tomb.Gen, func(n *State, me *Proc) {
		n.setTomb(tomb.Gen, true)

		me.PC, me.Saw, me.Gen = atD4, true, tomb.Gen
	})
	a.late("D2 PUT tombstone: condemned %d", tomb.Gen, func(n *State, _ *Proc) { n.Tomb.Late |= lateCondemn })
}

func (a *actor) stepD5(p Proc) {
	if !p.Saw && !a.BlindBump {
		a.do("D5 PUT tombstone: 412", 0, func(n *State, _ *Proc) { a.rest(n) })

		return
	}

	gen := a.bumped(p.Gen)
	if gen > a.top() {
		return // the bound of the model
	}

	a.do("D5 PUT tombstone: live %d", gen, func(n *State, me *Proc) {
		n.setTomb(gen, false)

		if me.PC = atD6; a.DeleteFirst {
			a.rest(n)
		}
	})

	if !a.BlindBump {
		a.late("D5 PUT tombstone: live %d", gen, func(n *State, _ *Proc) {
			n.Tomb.Late |= lateBump
			a.rest(n)
		})
	}
}

func (m *Model) top() uint8 {
	if m.collecting {
		return maxGen + 1
	}

	return maxGen
}

// collectable is I3: all writers are gone for ever, nothing is referenced, nothing is
// under way. A deleter that runs alone, twice, must leave nothing.
func (m *Model) collectable(s State) bool {
	s.InPut, s.InDel, s.DataPut, s.DataDel, s.Proved, s.Tomb.Late = 0, 0, 0, 0, 0, 0
	s.Procs = [maxProcs]Proc{}

	for r := range s.Heads {
		s.Heads[r].Late, s.Heads[r].LateGone, s.Heads[r].Ever = 0, 0, 0
	}

	s = m.canonical(s)

	key := maphash.Comparable(seed, s)
	if done, ok := m.collected[key]; ok {
		return done
	}

	if m.collected == nil {
		m.collected = map[uint64]bool{}
	}

	m.collected[key] = m.collect(s)

	return m.collected[key]
}

func (m *Model) collect(s State) bool {
	alone := *m
	alone.collecting, alone.Prompt = true, true

	last := len(m.Roles) - 1
	if m.Roles[last].Kind != Delete {
		return true
	}

	for range 2 {
		for repo := range uint8(m.repos()) {
			s = alone.runRound(s, last, func(a *actor) { a.stepCondemn(repo) })
			s = alone.runRound(s, last, func(a *actor) { a.stepDead(repo) })
		}

		s = alone.runRound(s, last, func(a *actor) { a.stepD1() })
		s = alone.runRound(s, last, func(a *actor) { a.stepOld() })
	}

	return s.In == 0 && s.Data == 0
}

// runRound runs one round of the deleter; all its requests succeed at once.
func (m *Model) runRound(s State, proc int, begin func(*actor)) State {
	s.Procs[proc] = Proc{PC: atStart, Left: 1}

	for step := begin; ; step = (*actor).stepDeleter {
		next, moved := s, false
		a := actor{Model: m, role: m.Roles[proc], i: proc, s: s, out: func(_ int, _ string, _ uint8, n State) {
			next, moved = n, true
		}}
		step(&a)

		s = next
		s.In &^= s.InDel
		s.Data &^= s.DataDel
		s.InDel, s.DataDel = 0, 0

		if !moved || s.Procs[proc].PC == atEnd {
			s.Procs[proc] = Proc{}

			return s
		}
	}
}
