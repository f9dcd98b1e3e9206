package model

// stepHolds is H0, H1 and H3: does the repository hold D?
func (a *actor) stepHolds(p Proc) {
	switch p.PC {
	case atAsk:
		a.stepAsk()
	case atList:
		a.stepList(p)
	case atStat:
		a.stepStat(p)
	}
}

// stepAsk is H0: a state that says that D is condemned is no ground for an answer.
func (a *actor) stepAsk() {
	repo := int(a.role.Repo)
	text := "H0 GET head"
	renews := a.s.Heads[repo].Condemned && !a.NoRenew

	if renews {
		text = "H0 GET head, append renew"
		a.late("H0 append renew", 0, func(n *State, _ *Proc) { n.Heads[repo].Late.add(uint8(recRenew)) })
	}

	a.do(text, 0, func(n *State, p *Proc) {
		if renews {
			a.append(n, repo, recRenew)
		}

		p.Known = n.Heads[repo].known()
		p.Covered = a.Leases
		p.PC = atList

		if p.Known.Named {
			a.grant(n, p)
		}
	})
}

// stepList is H1.
func (a *actor) stepList(p Proc) {
	repo := a.role.Repo
	if p.Task == mountFrom {
		repo = a.role.From
	}

	listed := a.s.In & a.tokensOf(repo)
	basis, found := a.best(p, listed)

	if a.Places && found {
		a.stepListed(p, listed)

		return
	}

	if found || p.Task == mountFrom && p.Known.Named {
		a.do("H1 LIST in/: found", 0, func(_ *State, me *Proc) { me.Basis, me.PC = basis, atCheck })

		return
	}

	switch {
	case p.Task != commit:
		a.do("H1 LIST in/: nothing, 404", 0, func(n *State, _ *Proc) { a.finish(n) })
	case a.RenewsUnheld || a.CommitRenews && listed != 0:
		a.do("C1 writes a membership", 0, func(_ *State, me *Proc) {
			me.PC, me.Task, me.Seq = atIn, renew, me.Known.Seq
		})
	case p.Fresh || a.StaleUnknown:
		a.do("H1 LIST in/: nothing, 404", 0, func(n *State, _ *Proc) { a.unknown(n) })
	default:
		a.do("H1 LIST in/: nothing", 0, func(_ *State, me *Proc) { me.PC = atRead })
	}
}

// stepListed takes any of the listed memberships that counts in the state at hand.
func (a *actor) stepListed(p Proc, listed set) {
	listed.each(func(t uint8) {
		if seq := a.s.InSeq[t]; p.Known.counts(t, seq) {
			a.do("H1 LIST in/: found t%d", t, func(_ *State, me *Proc) { me.Basis, me.Place, me.PC = seq, t+1, atCheck })
		}
	})
}

// best returns the highest number of the listed memberships that count in the state
// at hand.
func (a *actor) best(p Proc, listed set) (uint8, bool) {
	if a.Blind {
		return 0, listed != 0 && (p.Task != commit || p.Known.Swept == 0)
	}

	if a.ListAlone && p.Task == commit {
		return p.Known.Seq, listed != 0
	}

	var best uint8

	found := false

	listed.each(func(t uint8) {
		if seq := a.s.InSeq[t]; p.Known.counts(t, seq) {
			best, found = max(best, seq), true
		}
	})

	return best, found
}

// stepStat is H3.
func (a *actor) stepStat(p Proc) {
	if !a.s.Data.has(p.Gen) {
		a.do("H3 HEAD data.%d: 404", p.Gen, func(n *State, _ *Proc) { a.unknown(n) })

		return
	}

	a.do("H3 HEAD data.%d: 200", p.Gen, func(n *State, me *Proc) {
		switch p.Task {
		case mountFrom:
			a.allowMount(n, me)
		case mountTo:
			me.PC = atHead
		case ask:
			a.grant(n, me)
			me.Based = a.role.Commit == Here
		case renew:
			me.Basis = p.Seq
			a.ready(me)
		default:
			a.ready(me)
		}
	})
}

// allowMount: the other repository holds D, and the user may read it there.
func (a *actor) allowMount(n *State, p *Proc) {
	if n.Proved.has(a.role.From) {
		n.Proved.add(a.role.Repo)
	}

	p.Task, p.PC, p.Basis = mountTo, atIn, 0
	a.refresh(n, p)
}

// ready: a membership and its bytes were seen.
func (a *actor) ready(p *Proc) {
	p.Task, p.PC, p.Based, p.Gen, p.Seq = commit, atAppend, true, 0, 0
}

// unknown is a negative answer.
func (a *actor) unknown(n *State) {
	if a.me(n).Lease {
		n.Bad = Unknown
	}

	a.finish(n)
}

// stepCommit is C1 and C2.
func (a *actor) stepCommit(p Proc) {
	head := a.s.Heads[a.role.Repo]

	if p.PC == atAppend && (head.Seq == p.Known.Seq || a.StaleCommit) {
		a.stepAppend(p)

		return
	}

	if p.PC == atCommit {
		a.do("C1 by the state at hand", 0, func(_ *State, me *Proc) { a.decide(me) })
	}

	a.do("C1 GET head", 0, func(n *State, me *Proc) {
		if head.Ever.has(a.manifest(p)) { // an earlier attempt had landed
			a.finish(n)

			return
		}

		if head.Gone != p.Known.Gone {
			me.Based = false
		}

		me.Known, me.Fresh = head.known(), true
		a.decide(me)
	})
}

// decide is C1: is there ground for the record in the state at hand?
func (a *actor) decide(p *Proc) {
	p.Based = p.Based && p.Basis >= p.Known.Swept
	if !p.Based {
		p.Basis, p.Place = 0, 0
	}

	switch {
	case p.Known.Named || p.Based:
		p.PC = atAppend
	case a.TrustPool:
		p.PC = atCheck
	default:
		p.PC = atList
	}
}

// stepAppend is C2.
func (a *actor) stepAppend(p Proc) {
	repo, manifest := int(a.role.Repo), a.manifest(p)

	a.do("C2 append manifest %d: 201", manifest, func(n *State, me *Proc) {
		if head := &n.Heads[repo]; a.Places && head.Refs == 0 { // else it is where others have it
			head.At = me.Place
		}

		a.append(n, repo, recManifest+record(manifest))
		a.finish(n)
	})
	a.late("C2 append manifest %d", manifest, func(n *State, me *Proc) {
		n.Heads[repo].Late.add(uint8(recManifest) + manifest)

		me.PC, me.Fresh = atRead, false
	})
}
