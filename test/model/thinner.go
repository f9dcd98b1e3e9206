package model

// stepThinner emits what a deleter can do that keeps one membership of several.
func (a *actor) stepThinner() {
	p := a.s.Procs[a.i]
	repo := int(a.role.Repo)
	head := a.s.Heads[repo]

	if p.PC != atStart && p.PC != atEnd {
		a.do("crashes; another deleter starts", 0, func(n *State, _ *Proc) { a.rest(n) })
	}

	switch p.PC {
	case atStart:
		a.do("Y1 GET head, LIST in/ of "+repoName(repo), 0, func(n *State, me *Proc) {
			me.Left--
			me.PC, me.Listed, me.Known = atX2, n.In&a.tokensOf(a.role.Repo), Known{Swept: head.Swept, Gone: head.Gone}

			if a.ThinsStale {
				me.Listed = a.surplus(me.Listed, head)
			}
		})
	case atX2:
		a.stepY2(p, head)
	case atX3:
		a.do("Y3 DELETE "+p.Listed.String(), 0, func(n *State, me *Proc) {
			n.InDel |= me.Listed
			a.rest(n)
		})
	}
}

// stepY2 reads the head and appends to it on its ETag, in one step.
func (a *actor) stepY2(p Proc, head Head) {
	repo := int(a.role.Repo)
	surplus := a.surplus(p.Listed, head)

	if a.ThinsStale {
		surplus = p.Listed
	} else if head.Refs == 0 {
		surplus = 0
	}

	if surplus == 0 || head.Swept != p.Known.Swept || head.Gone != p.Known.Gone {
		a.do("Y2 GET head: D is not named, or nothing is known to be surplus", 0, func(n *State, _ *Proc) { a.rest(n) })

		return
	}

	text := "Y2 append -members, naming " + surplus.String()

	a.do(text, 0, func(n *State, me *Proc) {
		n.Heads[repo].LateGone = surplus
		a.append(n, repo, recRemove)
		me.PC, me.Listed, me.Known = atX3, surplus, Known{}
	})

	if !head.Late.has(uint8(recRemove)) { // the model has room for one
		a.late(text, 0, func(n *State, _ *Proc) {
			n.Heads[repo].Late.add(uint8(recRemove))
			n.Heads[repo].LateGone = surplus
			a.rest(n)
		})
	}
}

// surplus is what is not needed of the listed memberships: all that count, but for the newest, or
// for the one at which manifests have D. If that is not there, all are needed.
func (a *actor) surplus(listed set, head Head) set {
	known := head.known()

	var (
		surplus, kept set
		newest        uint8
	)

	listed.each(func(t uint8) {
		if seq := a.s.InSeq[t]; known.counts(t, seq) {
			surplus.add(t)

			if seq >= newest {
				newest, kept = seq, 0
				kept.add(t)
			}
		}
	})

	switch {
	case a.ThinsAll:
		return surplus
	case a.Places && (head.Refs == 0 || !surplus.has(head.At-1)):
		return 0
	case a.Places:
		surplus.drop(head.At - 1)

		return surplus
	}

	return surplus &^ kept
}
