package model

import "testing"

func up(c Commits, lives uint8) Role { return Role{Kind: Upload, Commit: c, Lives: lives} }

var del = func(n uint8) Role { return Role{Kind: Delete, Lives: n} }

func TestX(t *testing.T) {
	neg := []struct {
		name string
		r    Rules
	}{
		{"NoCheck", Rules{NoCheck: true}},
		{"CheckFirst", Rules{CheckFirst: true}},
		{"NoHead", Rules{NoHead: true}},
		{"NoSweepCheck", Rules{NoSweepCheck: true}},
		{"LookOnly", Rules{LookOnly: true}},
		{"MembershipUnproved", Rules{MembershipUnproved: true}},
		{"TrustPool", Rules{TrustPool: true}},
		{"ListAlone", Rules{ListAlone: true}},
		{"StaleCommit", Rules{StaleCommit: true}},
		{"RenewsUnheld", Rules{RenewsUnheld: true}},
		{"NoFence", Rules{NoFence: true, ListedBefore: true}},
		{"NoSwept", Rules{NoSwept: true, ListedBefore: true}},
		{"SweepAnyway", Rules{SweepAnyway: true}},
		{"AnyCondemn", Rules{AnyCondemn: true}},
		{"SweepKeeps", Rules{SweepKeeps: true}},
		{"ListedBefore", Rules{ListedBefore: true}},
		{"FreshList", Rules{FreshList: true}},
		{"NoWait", Rules{NoWait: true}},
		{"WaitFromSend", Rules{WaitFromSend: true}},
		{"NoSecondList", Rules{NoSecondList: true}},
		{"BlindBump", Rules{BlindBump: true}},
		{"SameGen", Rules{SameGen: true}},
		{"DeleteFirst", Rules{DeleteFirst: true}},
		{"NoTakeOver", Rules{NoTakeOver: true}},
		{"ReplaceOthers", Rules{ReplaceOthers: true}},
		{"Blind", Rules{Blind: true}},
		{"Blind+renew", Rules{Blind: true, CommitRenews: true, ListedBefore:true}},
		{"Brief+take", func() Rules { r := Brief; r.NoTakeOver = false; return r }()},
		{"Brief+take+revive", func() Rules { r := Brief; r.NoTakeOver = false; r.LookOnly = false; return r }()},
		{"Brief+take+revive+own", func() Rules { r := Brief; r.NoTakeOver = false; r.LookOnly = false; r.AnyCondemn = false; return r }()},
		{"Brief+take+revive+own", func() Rules { r := Brief; r.NoTakeOver = false; r.LookOnly = false; r.AnyCondemn = false; r.NoSweepCheck = false; return r }()},
	}
	for _, n := range neg {
		found := false
		for name, m := range map[string]*Model{
			"one":     {Roles: []Role{up(Here, 1), del(3)}},
			"commit":  {Roles: []Role{up(Nowhere, 1), {Kind: Commit, Lives: 1}, del(3)}},
			"mount":   {Roles: []Role{up(Nowhere, 1), {Kind: Mount, Repo: 1, Commit: Here, Lives: 1}, del(2)}},
			"commit other":   {Roles: []Role{up(Nowhere, 1), {Kind: Commit, Repo: 1, Lives: 1}, del(2)}},
			"lease":   {Leases: true, Roles: []Role{up(Here, 1), del(3)}},
			"leaseE":   {Leases: true, Roles: []Role{up(Elsewhere, 1), del(3)}},
			"lease ask": {Leases: true, Roles: []Role{up(Nowhere, 1), {Kind: Ask, Commit: Elsewhere, Lives: 1}, del(3)}},
			"lease two": {Leases: true, Prompt: true, Roles: []Role{up(Elsewhere, 1), del(2), del(2)}},
		} {
			m.Rules = n.r
			r := explore[State](m, 2_000_000)
			if r.Broken != "" {
				found = true
				t.Log(n.name, name, r)
				if n.name[0] == 'B' && n.name != "BlindBump" {
			    t.Log("\n" + m.describe(r.Trace))
			   }
			}
		}
		if !found {
			t.Log("NOT FOUND", n.name)
		}
	}
}
