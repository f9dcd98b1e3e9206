package model

import (
	"os"
	"strings"
	"testing"
)

func uploader(commits Commits, lives uint8) Role {
	return Role{Kind: Upload, Commit: commits, Lives: lives}
}

func remover(lives uint8) Role { return Role{Kind: Remove, Lives: lives} }

func thinner(lives uint8) Role { return Role{Kind: Thin, Lives: lives} }

func deleter(rounds uint8) Role { return Role{Kind: Delete, Lives: rounds} }

var (
	mounter   = Role{Kind: Mount, Repo: 1, Commit: Here, Lives: 1}
	committer = Role{Kind: Commit, Lives: 1}
	stranger  = Role{Kind: Commit, Repo: 1, Lives: 1} // commits where nobody uploaded
	asker     = Role{Kind: Ask, Commit: Elsewhere, Lives: 1}
)

// aged is a bucket in which D was uploaded, swept and deleted before, and in which all
// requests of that time may land again.
func aged(s *State) {
	s.Tomb.Gen = 1
	s.DataPut.add(0)
	s.DataDel.add(0)
	s.In.add(0)
	s.InPut.add(0)
	s.InDel.add(0)
	s.Heads[0].Seq, s.Heads[0].Swept = 2, 1
	s.Proved.add(0)
}

// A configuration ends with a deleter: I3 is checked with it.
type configuration struct {
	name  string
	model Model
}

// short runs with all other unit tests.
var short = []configuration{
	{"upload", Model{Roles: []Role{uploader(Here, 1), deleter(3)}}},
	{"upload, leases", Model{Leases: true, Roles: []Role{uploader(Elsewhere, 1), deleter(3)}}},
	{"upload twice", Model{Prompt: true, Roles: []Role{uploader(Here, 2), deleter(3)}}},
	{"upload after a delete", Model{Begin: aged, Roles: []Role{uploader(Here, 1), deleter(2)}}},
	{"2 uploads", Model{Prompt: true, Twins: true, Roles: []Role{uploader(Here, 1), uploader(Here, 1), deleter(2)}}},
	{"upload, mount", Model{Roles: []Role{uploader(Nowhere, 1), mounter, deleter(2)}}},
	{"upload, commit", Model{Roles: []Role{uploader(Nowhere, 1), committer, deleter(2)}}},
	{"upload, commit elsewhere", Model{Roles: []Role{uploader(Nowhere, 1), stranger, deleter(2)}}},
	{"upload, ask, leases", Model{Leases: true, Roles: []Role{uploader(Nowhere, 1), asker, deleter(2)}}},
	{"upload, 2 deleters, leases", Model{Leases: true, Prompt: true, Roles: []Role{
		uploader(Elsewhere, 1), deleter(2), deleter(1),
	}}},
	{"upload, remove", Model{Roles: []Role{uploader(Here, 1), remover(1), deleter(1)}}},
	{"upload, commit, remove", Model{Prompt: true, Roles: []Role{
		uploader(Nowhere, 1), committer, remover(1), deleter(1),
	}}},
	{"upload, remove, leases", Model{Leases: true, Prompt: true, Roles: []Role{
		uploader(Elsewhere, 1), remover(1), deleter(2),
	}}},
	{"upload twice, thin", Model{Prompt: true, Roles: []Role{uploader(Here, 2), thinner(1), deleter(2)}}},
	{"upload twice, 2 thin", Model{Prompt: true, Roles: []Role{uploader(Here, 2), thinner(1), thinner(1), deleter(1)}}},
	{"upload twice, thin, places", Model{Prompt: true, Places: true, Roles: []Role{uploader(Here, 2), thinner(1), deleter(2)}}},
	{"upload twice, commit, 2 thin, places", Model{Prompt: true, Places: true, Roles: []Role{
		uploader(Here, 2), committer, thinner(2), deleter(1),
	}}},
	{"upload twice, ask, thin, leases", Model{Prompt: true, Leases: true, Roles: []Role{
		uploader(Here, 2), asker, thinner(1), deleter(1),
	}}},
	{"2 uploads, thin, leases", Model{Prompt: true, Leases: true, Twins: true, Roles: []Role{
		uploader(Here, 1), uploader(Here, 1), thinner(1), deleter(1),
	}}},
}

// long is "make model".
var long = []configuration{
	{"upload, 5 rounds", Model{Roles: []Role{uploader(Here, 1), deleter(5)}}},
	{"upload twice", Model{Roles: []Role{uploader(Here, 2), deleter(4)}}},
	{"upload twice, leases", Model{Leases: true, Roles: []Role{uploader(Elsewhere, 2), deleter(3)}}},
	{"upload twice after a delete", Model{Begin: aged, Roles: []Role{uploader(Here, 2), deleter(3)}}},
	{"2 uploads", Model{Twins: true, Roles: []Role{uploader(Here, 1), uploader(Here, 1), deleter(3)}}},
	{"2 uploads, leases", Model{Leases: true, Twins: true, Roles: []Role{
		uploader(Elsewhere, 1), uploader(Elsewhere, 1), deleter(3),
	}}},
	{"upload, mount", Model{Roles: []Role{uploader(Here, 1), mounter, deleter(3)}}},
	{"upload, mount, leases", Model{Leases: true, Roles: []Role{uploader(Here, 1), mounter, deleter(3)}}},
	{"upload, commit", Model{Roles: []Role{uploader(Nowhere, 1), committer, deleter(4)}}},
	{"upload, ask, leases", Model{Leases: true, Roles: []Role{uploader(Nowhere, 1), asker, deleter(3)}}},
	{"upload, ask after a delete, leases", Model{Begin: aged, Leases: true, Roles: []Role{
		uploader(Nowhere, 1), asker, deleter(3),
	}}},
	{"upload, 2 deleters", Model{Roles: []Role{uploader(Here, 1), deleter(2), deleter(2)}}},
	{"upload, 2 deleters, leases", Model{Leases: true, Roles: []Role{uploader(Elsewhere, 1), deleter(2), deleter(2)}}},
	{"upload, commit elsewhere", Model{Roles: []Role{uploader(Here, 1), stranger, deleter(3)}}},
	{"upload, ask, commit", Model{Prompt: true, Leases: true, Roles: []Role{
		uploader(Elsewhere, 1), asker, committer, deleter(3),
	}}},
	{"upload, mount, commit", Model{Prompt: true, Roles: []Role{
		uploader(Here, 1), mounter, committer, deleter(3),
	}}},
	{"upload twice, remove twice", Model{Prompt: true, Roles: []Role{uploader(Here, 2), remover(2), deleter(2)}}},
	{"upload, remove, late requests", Model{Roles: []Role{uploader(Here, 1), remover(2), deleter(2)}}},
	{"upload, commit, remove", Model{Roles: []Role{uploader(Nowhere, 1), committer, remover(1), deleter(2)}}},
	{"upload, mount, remove", Model{Prompt: true, Roles: []Role{uploader(Here, 1), mounter, remover(2), deleter(2)}}},
	{"upload, remove, leases", Model{Leases: true, Roles: []Role{uploader(Elsewhere, 1), remover(2), deleter(2)}}},
	{"upload twice, thin twice, late requests", Model{Roles: []Role{uploader(Here, 2), thinner(2), deleter(2)}}},
	{"2 uploads, thin, leases", Model{Prompt: true, Leases: true, Twins: true, Roles: []Role{
		uploader(Elsewhere, 1), uploader(Elsewhere, 1), thinner(2), deleter(2),
	}}},
	{"upload twice, thin, remove, places", Model{Prompt: true, Places: true, Roles: []Role{
		uploader(Here, 2), thinner(1), remover(1), deleter(1),
	}}},
	{"2 uploads, thin, leases, places", Model{Prompt: true, Places: true, Leases: true, Roles: []Role{
		uploader(Here, 1), uploader(Elsewhere, 1), thinner(1), deleter(1),
	}}},
	{"upload twice, ask, thin, leases, places", Model{Prompt: true, Places: true, Leases: true, Roles: []Role{
		uploader(Elsewhere, 2), asker, thinner(1), deleter(1),
	}}},
	{"upload twice, thin, remove", Model{Prompt: true, Roles: []Role{uploader(Here, 2), thinner(1), remover(1), deleter(1)}}},
}

// isLong says that there are minutes, and gigabytes.
func isLong() bool { return os.Getenv("ZOT_MODEL") == "long" }

// TestProtocol: the protocol keeps all invariants, in every state that can be reached.
func TestProtocol(t *testing.T) {
	configurations := short
	if isLong() {
		configurations = long
	}

	for _, c := range configurations {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()

			model := c.model
			result := explore[State](&model, 0)
			t.Logf("%-36s %v", c.name, result)

			if result.Broken != "" {
				t.Errorf("the shortest way there:\n%s", model.describe(result.Trace))
			}
		})
	}
}

// Where departures show.
var (
	one      = Model{Roles: []Role{uploader(Here, 1), deleter(3)}}
	again    = Model{Prompt: true, Roles: []Role{uploader(Here, 2), deleter(4)}}
	others   = Model{Roles: []Role{uploader(Nowhere, 1), committer, deleter(3)}}
	foreign  = Model{Roles: []Role{uploader(Nowhere, 1), stranger, deleter(2)}}
	leased   = Model{Leases: true, Roles: []Role{uploader(Elsewhere, 1), deleter(3)}}
	asked    = Model{Leases: true, Roles: []Role{uploader(Nowhere, 1), asker, deleter(3)}}
	removed  = Model{Prompt: true, Roles: []Role{uploader(Nowhere, 1), committer, remover(1), deleter(2)}}
	promised = Model{Prompt: true, Leases: true, Roles: []Role{uploader(Elsewhere, 1), remover(1), deleter(1)}}
	thinned  = Model{Prompt: true, Leases: true, Twins: true, Roles: []Role{
		uploader(Here, 1), uploader(Here, 1), thinner(1), deleter(2),
	}}
	placed   = Model{Prompt: true, Places: true, Roles: []Role{uploader(Here, 2), committer, thinner(2), deleter(1)}}
	deleters = Model{Leases: true, Prompt: true, Roles: []Role{uploader(Elsewhere, 1), deleter(2), deleter(2)}}
)

// TestDepartures: without any one of its rules the protocol breaks. -v prints how.
func TestDepartures(t *testing.T) {
	for _, c := range []struct {
		name   string
		rules  Rules
		model  Model
		broken string
	}{
		{"U2 before the bytes are verified", Rules{MembershipUnproved: true}, one, "I4"},
		{"U2 with a name that was used before", Rules{SameName: true}, again, "I1"},
		{"U2 with a name without a number", Rules{Blind: true}, leased, "I2"},
		{"U2 with a name without a number, renewed by C1", Rules{Blind: true, CommitRenews: true}, asked, "I2"},
		{"no U3", Rules{NoCheck: true}, one, "I1"},
		{"U3 before U2", Rules{CheckFirst: true}, one, "I1"},
		{"no U4", Rules{NoHead: true}, leased, "I2"},
		{"U4 and H0 do not renew", Rules{NoRenew: true}, leased, "I2"},
		{"an answer on an old state", Rules{OldAnswer: true}, asked, "I2"},
		{"U4 does not look for a sweep", Rules{NoSweepCheck: true}, leased, "I2"},
		{"H2 leaves the tombstone condemned", Rules{LookOnly: true}, others, "I1"},
		{"H2 leaves the tombstone condemned, leases", Rules{LookOnly: true}, asked, "I2"},
		{"C1 looks at the pool alone", Rules{TrustPool: true}, foreign, "I4"},
		{"C1 looks at the pool alone, same repository", Rules{TrustPool: true}, one, "I1"},
		{"C1 takes a membership that was swept", Rules{ListAlone: true}, one, "I1"},
		{"C1 renews what the repository does not hold", Rules{RenewsUnheld: true}, foreign, "I4"},
		{"C2 without a condition", Rules{StaleCommit: true}, one, "I1"},
		{"no S3", Rules{NoWait: true}, leased, "I2"},
		{"S3 from when the record was sent", Rules{WaitFromSend: true}, leased, "I2"},
		{"S4 by another deleter's condemn record", Rules{AnyCondemn: true}, deleters, "I2"},
		{"no S4", Rules{NoFence: true, ListedBefore: true}, one, "I1"},
		{"the state forgets sweeps", Rules{NoSwept: true, ListedBefore: true}, one, "I1"},
		{"S5 deletes what a fresh LIST shows", Rules{FreshList: true}, one, "I1"},
		{"X2 names nothing", Rules{NamesNothing: true}, removed, "I1"},
		{"X2 goes by numbers", Rules{ByNumber: true, EarlyHead: true}, promised, "I2"},
		{"Y2 keeps none", Rules{ThinsAll: true}, thinned, "I2"},
		{"Y2 keeps none, places", Rules{ThinsAll: true}, placed, "I1"},
		{"Y2 by what Y1 has seen", Rules{ThinsStale: true}, placed, "I1"},
		{"Y2 names nothing", Rules{NamesNothing: true}, placed, "I1"},
		{"D2 stops at a condemned tombstone", Rules{NoTakeOver: true}, one, "I3"},
		{"D2 does not condemn", Rules{NoCondemn: true}, one, "I1"},
		{"no D4", Rules{NoSecondList: true}, one, "I1"},
		{"D5 without a condition", Rules{BlindBump: true}, one, "I1"},
		{"D5 keeps the generation", Rules{SameGen: true}, one, "I1"},
		{"D6 before D5", Rules{DeleteFirst: true}, one, "I1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()

			model := c.model
			model.Rules = c.rules
			result := explore[State](&model, 0)
			t.Logf("%v\n%s", result, model.describe(result.Trace))

			if !strings.HasPrefix(result.Broken, c.broken) {
				t.Errorf("%q is not found to break %s", result.Broken, c.broken)
			}
		})
	}
}

// TestFree: these departures break nothing, so an implementation may choose.
func TestFree(t *testing.T) {
	models := []Model{
		{Prompt: true, Roles: []Role{uploader(Nowhere, 1), committer, deleter(2)}},
		{Prompt: true, Leases: true, Roles: []Role{uploader(Elsewhere, 1), deleter(3)}},
		promised,
	}
	if isLong() {
		models = []Model{others, asked, deleters, {
			Prompt: true, Leases: true, Roles: []Role{uploader(Here, 1), mounter, deleter(3)},
		}}
	}

	for name, rules := range map[string]Rules{
		"S4 does not look for references: one would have ended the condemn record": {SweepAnyway: true},
		"a sweep leaves D condemned":             {SweepKeeps: true},
		"S5 deletes what was listed before S2":   {ListedBefore: true},
		"no D1":                                  {NoFirstList: true},
		"C1 refuses by an old state":             {StaleUnknown: true},
		"U4 only if more than T passed since U0": {EarlyHead: true},
		"D2 condemns a condemned tombstone anew": {ReplaceOthers: true},
	} {
		for _, model := range models {
			t.Run(name, func(t *testing.T) {
				t.Parallel()

				model.Rules = rules
				result := explore[State](&model, 0)
				t.Logf("%-72s %v", name, result)

				if result.Broken != "" {
					t.Errorf("the shortest way there:\n%s", model.describe(result.Trace))
				}
			})
		}
	}
}

// TestBrief: the protocol as it was first proposed loses data, and breaks leases in
// ways that are mended one after the other.
func TestBrief(t *testing.T) {
	rules := Brief
	mend := func(name string, model Model, broken string, change func()) {
		t.Run(name, func(t *testing.T) {
			change()

			model.Rules = rules
			result := explore[State](&model, 0)
			t.Logf("%v\n%s", result, model.describe(result.Trace))

			if broken == "" && result.Broken != "" || !strings.HasPrefix(result.Broken, broken) {
				t.Errorf("got %q, want %q", result.Broken, broken)
			}
		})
	}

	mend("as proposed", others, "I3", func() {})
	mend("D2 takes over", others, "I1", func() { rules.NoTakeOver = false })
	mend("H2 sets live: nothing is lost any more", Model{Prompt: true, Roles: others.Roles}, "",
		func() { rules.LookOnly = false })
	mend("but leases are", deleters, "I2", func() {})
	mend("S4 by its own condemn record", leased, "I2", func() { rules.AnyCondemn = false })
	mend("U4 looks for a sweep", asked, "I2", func() { rules.NoSweepCheck = false })
	mend("names carry numbers", Model{Prompt: true, Leases: true, Roles: asked.Roles}, "", func() { rules.Blind, rules.CommitRenews = false, false })
}

// TestReach: what makes the protocol hard does happen in the model. An invariant that
// holds because nothing ever happens proves nothing.
func TestReach(t *testing.T) {
	for _, c := range []struct {
		name  string
		model Model
		want  func(before, after State) bool
	}{
		{"a manifest names bytes of generation 2", again, func(_, s State) bool {
			return s.named() && s.Tomb.Gen == 2
		}},
		{"renew comes between S2 and S4", leased, func(before, s State) bool {
			return before.Procs[1].Mine && !s.Procs[1].Mine && s.Procs[0].Lease
		}},
		{"a membership is swept before its U4", one, func(_, s State) bool {
			return s.Procs[0].PC == atHead && s.Procs[0].Seq < s.Heads[0].Swept
		}},
		{"a membership that was deleted comes back", one, func(before, s State) bool {
			return s.In&^before.In&s.InDel != 0 && s.Procs[0] == before.Procs[0]
		}},
		{"bytes of an older generation come back", one, func(before, s State) bool {
			old := s.Data &^ before.Data & s.DataDel
			return old != 0 && s.Procs[0] == before.Procs[0] && s.named()
		}},
		{"a commit lands late", one, func(before, s State) bool {
			return s.Heads[0].Refs != 0 && before.Heads[0].Refs == 0 && s.Procs[0] == before.Procs[0]
		}},
		{"D5 lands late", one, func(before, s State) bool {
			return s.Tomb.Gen > before.Tomb.Gen && s.Procs[1] == before.Procs[1]
		}},
		{"D5 loses against U3", one, func(_, s State) bool {
			return s.Procs[1].PC == atD5 && !s.Procs[1].Saw && !s.Tomb.Condemned && s.Tomb.Gen == 0
		}},
		{"a mount finds another generation, without bytes", Model{
			Prompt: true, Roles: []Role{uploader(Nowhere, 1), mounter, deleter(3)},
		}, func(_, s State) bool {
			return s.Procs[1].PC == atStat && s.Procs[1].Task == mountTo && !s.Data.has(s.Procs[1].Gen)
		}},
		{"a commit gets 412 after a sweep", others, func(_, s State) bool {
			return s.Procs[1].PC == atAppend && s.Procs[1].Known.Swept < s.Heads[0].Swept
		}},
		{"both repositories name D", Model{
			Prompt: true, Roles: []Role{uploader(Here, 1), mounter, deleter(1)},
		}, func(_, s State) bool {
			return s.Heads[0].Refs != 0 && s.Heads[1].Refs != 0
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()

			model := c.model
			if result := explore[pair](reach{&model, c.want}, 0); result.Broken == "" {
				t.Error("it does not")
			}
		})
	}
}

// pair is two states, one after the other.
type pair struct{ before, after State }

// reach looks for a step.
type reach struct {
	*Model

	want func(before, after State) bool
}

func (r reach) Init() pair { return pair{after: r.Model.Init()} }

func (r reach) Next(p pair, emit func(Step, pair)) {
	r.Model.Next(p.after, func(step Step, next State) { emit(step, pair{before: p.after, after: next}) })
}

func (r reach) Check(p pair) string {
	if r.want(p.before, p.after) {
		return "found"
	}

	return ""
}

func (r reach) Key(p pair) uint64 {
	if r.want(p.before, p.after) {
		return 1
	}

	return r.Model.Key(p.after)
}

// TestSymmetry: what is taken for the same leads to the same.
func TestSymmetry(t *testing.T) {
	roles := []Role{uploader(Here, 1), uploader(Here, 1), deleter(1)}
	all := explore[State](&Model{Prompt: true, Roles: roles}, 0)
	half := explore[State](&Model{Prompt: true, Twins: true, Roles: roles}, 0)
	t.Log(all.States, half.States)

	if all.Depth != half.Depth || 2*half.States < all.States || half.States > all.States*6/10 {
		t.Errorf("%v\n%v", all, half)
	}
}
