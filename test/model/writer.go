package model

const manifestsEach = 2 // per process: one for each of its lives

// Where a process stands. A writer goes through atStart ... atAppend, a deleter is at
// atStart or atS2 ... atD6, a remover at atStart, atX2, atX3.
const (
	atEnd    PC = iota // nothing more
	atStart            // a new client, a new round
	atAsk              // H0 read the head
	atPut              // U1 and U2, in either order
	atData             // U1, U2 is done
	atIn               // U2, U1 is done or not needed
	atCheck            // U3 GET tombstone
	atRevive           // U3 set the tombstone live
	atAgain            // U3 PUT data.<gen> of a newer generation
	atStat             // H3 HEAD data.<gen>
	atHead             // U4 read the head, renew, answer
	atList             // H1 LIST in/<repo>/
	atCommit           // C1 with the state at hand, or read the head
	atRead             // C1 read the head
	atAppend           // C2
	atHold             // it has a lease, and does nothing with it
	atX2               // of a remover
	atX3
	atS2
	atS4
	atS5
	atD2
	atD4
	atD5
	atD6
)

// What a writer is after.
const (
	upload task = iota
	mountFrom
	mountTo
	ask
	commit
	renew // of a membership within commit; not in the protocol, see Rules.CommitRenews
)

// stepWriter emits what a writer can do.
func (a *actor) stepWriter() {
	p := a.s.Procs[a.i]

	if p.PC != atStart && p.PC != atEnd && p.Left > 0 {
		a.do("crashes; the client tries again", 0, func(n *State, _ *Proc) { a.finish(n) })
	}

	if p.Covered {
		a.stepExpire(p)
	}

	switch p.PC {
	case atStart:
		a.stepStart()
	case atPut, atData, atIn:
		a.stepPut(p)
	case atAgain:
		a.stepPutData(p.Gen, atHead)
	case atCheck, atRevive:
		a.stepCheck(p)
	case atAsk, atList, atStat:
		a.stepHolds(p)
	case atHead:
		a.stepHead()
	case atCommit, atRead, atAppend:
		a.stepCommit(p)
	}
}

func firstManifest(proc int) uint8 { return uint8(1 + manifestsEach*proc) }

// manifest is the one that the client commits in this life.
func (a *actor) manifest(p Proc) uint8 { return firstManifest(a.i) + a.role.Lives - p.Left - 1 }

// finish ends a client's life.
func (a *actor) finish(n *State) {
	n.endLease(a.i)

	p := a.me(n)
	next := Proc{PC: atStart, Left: p.Left, Token: p.Token}

	if !a.SameName && p.Token < tokensEach && n.InPut.has(a.token(*p)) { // it was sent: nobody may use the name
		next.Token++
	}

	if next.Left == 0 {
		next = Proc{PC: atEnd}
	}

	*p = next
}

func (a *actor) token(p Proc) uint8 { return firstToken(a.i) + p.Token }

// stepExpire: the client gave up, or the time of its lease is over. It may go on, with
// no promise. An answer that was not given in time must not be given on old knowledge.
func (a *actor) stepExpire(p Proc) {
	a.do("the lease is over", 0, func(n *State, me *Proc) {
		n.endLease(a.i)

		switch {
		case p.PC == atHold:
			a.finish(n)
		case p.Task == ask && !p.Lease && !a.OldAnswer:
			*me = Proc{PC: atAsk, Task: ask, Left: p.Left, Token: p.Token}
		}
	})
}

func (a *actor) stepStart() {
	start := func(text string, change func(n *State, p *Proc)) {
		a.do(text, 0, func(n *State, p *Proc) {
			p.Left--
			change(n, p)
		})
	}

	switch a.role.Kind {
	case Upload:
		start("U0 reads the head; a client uploads D", func(n *State, p *Proc) {
			p.PC, p.Task = atPut, upload
			a.refresh(n, p)

			if !a.MembershipUnproved {
				n.Proved.add(a.role.Repo)
			}
		})

		if a.s.Heads[a.role.Repo].Refs != 0 {
			start("H0 GET head: D is named; a client uploads it: 201", a.grantNamed)
		}
	case Mount:
		start("M0 reads the head of the other repository", func(n *State, p *Proc) {
			p.PC, p.Task = atList, mountFrom
			p.Known = n.Heads[a.role.From].known()
		})
	case Ask:
		start("a client asks for D", func(_ *State, p *Proc) { p.PC, p.Task = atAsk, ask })
	case Commit:
		start("a client puts a manifest", func(_ *State, p *Proc) { p.PC, p.Task = atCommit, commit })
	}
}

// grantNamed answers an upload of what a manifest names: nothing is written.
func (a *actor) grantNamed(n *State, p *Proc) {
	p.Known = n.Heads[a.role.Repo].known()
	n.Proved.add(a.role.Repo)
	a.grant(n, p)
	p.Based, p.Basis, p.Place = false, 0, 0
}

// refresh is U0: the number for the membership.
func (a *actor) refresh(n *State, p *Proc) {
	repo := int(a.role.Repo)

	if a.EarlyHead {
		p.Covered = a.Leases

		if n.Heads[repo].Condemned {
			a.append(n, repo, recRenew)
		}
	}

	p.Known = n.Heads[repo].known()
	p.Seq = p.Known.Seq
}

// stepPut is U1 and U2.
func (a *actor) stepPut(p Proc) {
	if p.PC == atPut || p.PC == atData {
		next := atIn
		if a.CheckFirst {
			next = atCheck
		} else if p.PC == atData {
			next = a.afterIn()
		}

		for gen := range a.s.Tomb.Gen + 1 { // what it heard last may be old
			a.stepPutData(gen, next)
		}
	}

	if p.PC == atPut && !a.CheckFirst || p.PC == atIn {
		a.stepPutIn(p)
	}
}

// stepPutData puts the bytes of generation gen.
func (a *actor) stepPutData(gen uint8, next PC) {
	a.do("U1 PUT data.%d", gen, func(n *State, p *Proc) {
		n.putData(gen)
		n.Proved.add(a.role.Repo)

		p.Gen, p.PC = gen, next
	})
	a.late("U1 PUT data.%d", gen, func(n *State, _ *Proc) { n.DataPut.add(gen) })
}

// stepPutIn writes a membership. No name is used twice.
func (a *actor) stepPutIn(p Proc) {
	if p.Token == tokensEach {
		return // the bound of the model
	}

	token := a.token(p)
	send := func(n *State) {
		n.InPut.add(token)
		n.InSeq[token] = p.Seq

		if !n.Proved.has(a.role.Repo) {
			n.Bad = Unproved
		}
	}

	a.do("U2 PUT in/t%d", token, func(n *State, me *Proc) {
		send(n)
		n.In.add(token)

		if !a.SameName {
			me.Token++
		}

		if me.PC = a.afterIn(); p.PC == atPut {
			me.PC = atData
		}
	})
	a.late("U2 PUT in/t%d", token, func(n *State, _ *Proc) { send(n) })
}

func (a *actor) afterIn() PC {
	switch {
	case a.NoCheck || a.CheckFirst && a.s.Procs[a.i].Task == upload:
		return atHead
	default:
		return atCheck
	}
}

// stepCheck is U3, and H2, which is the same.
func (a *actor) stepCheck(p Proc) {
	tomb := a.s.Tomb

	if p.PC == atRevive {
		a.do("U3 PUT tombstone: live %d", tomb.Gen, func(n *State, me *Proc) {
			n.setTomb(tomb.Gen, false)

			me.Saw = true
			a.afterCheck(me, tomb.Gen)
		})
		a.late("U3 PUT tombstone: live %d", tomb.Gen, func(n *State, me *Proc) {
			n.Tomb.Late |= lateRevive
			me.PC, me.Saw = atCheck, false
		})

		return
	}

	looks := a.LookOnly && (p.Task == ask || p.Task == commit || p.Task == mountFrom)

	if tomb.Condemned && !looks {
		a.do("U3 GET tombstone: condemned %d", tomb.Gen, func(_ *State, me *Proc) { me.PC, me.Saw = atRevive, true })

		return
	}

	a.do("U3 GET tombstone: %d", tomb.Gen, func(_ *State, me *Proc) { a.afterCheck(me, tomb.Gen) })
}

// afterCheck goes on when the tombstone was live, at generation gen.
func (a *actor) afterCheck(p *Proc, gen uint8) {
	same := p.Gen == gen
	p.Gen, p.Saw = gen, false

	switch {
	case p.Task == upload && a.CheckFirst:
		p.PC = atIn
	case p.Task == upload && !same:
		p.PC = atAgain
	case p.Task == upload || p.Task == mountTo && same:
		p.PC = atHead
	default:
		p.PC = atStat
	}
}

// stepHead is U4. Reading the head and appending to it on its ETag are one step: the
// append succeeds only if nothing came between, else the head is read again.
func (a *actor) stepHead() {
	repo := int(a.role.Repo)

	if a.NoHead || a.EarlyHead && a.s.Procs[a.i].Covered {
		a.do("U4 left out: 201", 0, func(n *State, p *Proc) { a.grant(n, p) })

		return
	}

	text := "U4 GET head: 201"
	renews := a.s.Heads[repo].Condemned && !a.NoRenew

	if renews {
		text = "U4 GET head, append renew: 201"
		a.late("U4 append renew", 0, func(n *State, _ *Proc) { n.Heads[repo].Late.add(uint8(recRenew)) })
	}

	n := a.s
	p := a.me(&n)

	if renews {
		a.append(&n, repo, recRenew)
	}

	p.Known = n.Heads[repo].known()

	if p.Seq < p.Known.Swept && !a.NoSweepCheck {
		text = "U4 GET head: the membership was swept"
		p.Seq, p.PC = p.Known.Seq, atIn
	} else {
		a.grant(&n, p)
	}

	a.emit(text, 0, n)
}

// grant is a positive answer: a lease.
func (a *actor) grant(n *State, p *Proc) {
	removed := a.isRemoved(*n, a.i)

	// A client may delete D before the answer. What was dropped for other reasons is held all the same.
	deleted := removed && a.removes && !a.readable(*n, a.role.Repo)

	p.Lease, p.Covered = a.Leases && !deleted, a.Leases
	p.PC, p.Task, p.Gen, p.Saw = atCommit, commit, 0, false

	if !removed && (a.role.Kind == Upload || a.role.Kind == Mount) {
		p.Based, p.Basis = true, p.Seq

		if a.Places {
			p.Place = firstToken(a.i) + p.Token
		}
	}

	p.Seq = 0

	switch a.role.Commit {
	case Here:
	case Elsewhere:
		p.Known, p.Based, p.Basis, p.Place = Known{}, false, 0, 0
	case Nowhere:
		if *p = (Proc{PC: atHold, Left: p.Left, Token: p.Token, Lease: p.Lease, Covered: a.Leases}); !a.Leases {
			a.finish(n)
		}
	}
}
