package model

// stepRemover emits what a replica can do for a client that deletes D in a repository.
func (a *actor) stepRemover() {
	p := a.s.Procs[a.i]
	repo := int(a.role.Repo)

	if p.PC != atStart && p.PC != atEnd {
		a.do("crashes; the client tries again", 0, func(n *State, _ *Proc) { a.rest(n) })
	}

	switch p.PC {
	case atStart:
		a.do("X1 LIST in/ of "+repoName(repo), 0, func(n *State, me *Proc) {
			me.Left--
			me.PC, me.Listed = atX2, n.In&a.tokensOf(a.role.Repo)
		})
	case atX2:
		a.stepX2(p, &a.s.Heads[repo])
	case atX3:
		a.do("X3 DELETE "+p.Listed.String(), 0, func(n *State, me *Proc) {
			n.InDel |= me.Listed
			a.rest(n)
		})
	}
}

// stepX2 reads the head and appends to it on its ETag, in one step.
func (a *actor) stepX2(p Proc, head *Head) {
	repo := int(a.role.Repo)

	if head.Refs != 0 {
		a.do("X2 GET head: D is named", 0, func(n *State, _ *Proc) { a.rest(n) })

		return
	}

	a.do("X2 append -blob, naming "+p.Listed.String(), 0, func(n *State, me *Proc) {
		n.Heads[repo].LateGone = me.Listed
		a.append(n, repo, recRemove)
		me.PC = atX3
	})

	if !head.Late.has(uint8(recRemove)) { // the model has room for one
		a.late("X2 append -blob, naming "+p.Listed.String(), 0, func(n *State, me *Proc) {
			n.Heads[repo].Late.add(uint8(recRemove))
			n.Heads[repo].LateGone = me.Listed
			a.rest(n)
		})
	}
}

// remove is what a -blob or -members record says, which names memberships. Who was told of one of
// them has no promise any more if a client has deleted the blob: no manifest names it then.
func (m *Model) remove(n *State, r int, gone set) {
	head := &n.Heads[r]

	switch {
	case m.ByNumber:
		head.Swept, head.Gone = head.Seq, gone
	case !m.NamesNothing:
		head.Gone |= gone
	}

	for i, role := range m.Roles {
		if int(role.Repo) == r && head.Refs == 0 && wroteOneOf(gone|head.Gone, i, n.Procs[i]) {
			n.Procs[i].Lease = false
		}
	}
}

// isRemoved says whether a record has dropped the membership that a process wrote last.
func (m *Model) isRemoved(n State, proc int) bool {
	return wroteOneOf(n.Heads[m.Roles[proc].Repo].Gone, proc, n.Procs[proc])
}

// wroteOneOf says whether the last membership that a process wrote is one of some.
func wroteOneOf(tokens set, proc int, p Proc) bool {
	return p.Token > 0 && tokens.has(firstToken(proc)+p.Token-1)
}

// counts says whether a membership counts in a state.
func (k Known) counts(token, seq uint8) bool { return seq >= k.Swept && !k.Gone.has(token) }
