package storage

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// thinned is a state in which a manifest of repository "r" names a blob, or none does.
type thinned struct {
	*state

	blob digest.Digest
}

func newThinned(at string) *thinned {
	st := &thinned{newState(), digest.FromString("blob")}
	st.fold(Record{Seq: 1})

	if at != "" {
		st.name("manifest", at)
	}

	return st
}

func (st *thinned) record(op Op) { st.fold(Record{Seq: st.seq + 1, Ops: []Op{op}}) }

func (st *thinned) name(manifest, at string) {
	named := []Ref{{Digest: st.blob, Size: 1, At: at}}
	st.record(Op{Kind: OpPutManifest, Manifest: &ManifestRecord{Digest: digest.FromString(manifest), Blobs: named}})
}

// listed are memberships, by names that begin with their numbers: "o1" has the bytes in it.
func (st *thinned) listed(names ...string) []Member {
	var members []Member

	for _, name := range names {
		members = append(members, Member{
			Repo: "r", Digest: st.blob, Key: placedKey("r", st.blob, name), Own: name[0] == 'o', Seq: uint64(name[1] - '0'),
		})
	}

	return members
}

func places(members []Member) string {
	var places []string
	for _, m := range members {
		places = append(places, m.place())
	}

	return strings.Join(places, " ")
}

// TestSurplus: which memberships are not needed besides another.
func TestSurplus(t *testing.T) {
	for _, one := range []struct {
		what, at string
		records  []Op // of the blob
		listed   []string
		want     string
	}{
		{"one alone", "o1", nil, []string{"o1"}, ""},
		{"all but the named one", "o2", nil, []string{"o1", "o2", "o3"}, "o1 o3"},
		{"what others share besides a named one", "o2", nil, []string{"i1", "o2", "i3"}, "i1 i3"},
		{"the named one is missing", "o2", nil, []string{"o1", "o3"}, ""},
		{"all but the newest that share", "pool.0", nil, []string{"i3", "i1", "i2"}, "i1 i2"},
		{"bytes of their own besides what is shared", "pool.0", nil, []string{"i1", "i2", "o3"}, ""},
		{"nothing names it", "", nil, []string{"o1", "o2"}, ""},
		{"nothing names what is shared", "", nil, []string{"i1", "i2"}, ""},
		{"the newest was dropped", "pool.0", []Op{{Members: []string{"i3"}}}, []string{"i1", "i2", "i3"}, "i1"},
		{"all but one were dropped", "pool.0", []Op{{Members: []string{"i3"}}}, []string{"i2", "i3"}, ""},
		{"what was dropped is no surplus", "o1", []Op{{Members: []string{"o3"}}}, []string{"o1", "o2", "o3"}, "o2"},
	} {
		st := newThinned(one.at)
		for _, op := range one.records {
			op.Kind, op.Digest = OpDropMembers, st.blob
			st.record(op)
		}

		if got := places(st.surplus(st.blob, st.listed(one.listed...))); got != one.want {
			t.Errorf("%s: %q, want %q", one.what, got, one.want)
		}
	}
}

// TestOnePlace: all manifests name a blob at the place of the first, also when that is deleted, and
// in whatever order a checkpoint has them.
func TestOnePlace(t *testing.T) {
	for _, first := range []string{"manifest", "other"} {
		st := newThinned("")
		st.name(first, "o1")

		for _, next := range []string{"manifest", "other", "third"} {
			if next != first {
				st.name(next, "o3")
			}
		}

		check := func(when string) {
			t.Helper()

			var buf bytes.Buffer
			if err := encodeCheckpoint(&buf, st.state); err != nil {
				t.Fatal(err)
			}

			read, err := decodeCheckpoint(&buf)
			if err != nil {
				t.Fatal(err)
			}

			for _, st := range []*state{st.state, read} {
				if got := fmt.Sprint(st.placesOf(digest.FromString("blob"))); got != "[o1]" {
					t.Errorf("%s first, %s: it is at %s", first, when, got)
				}
			}
		}

		check("all are there")
		st.record(Op{Kind: OpDeleteManifest, Digest: digest.FromString(first)})
		check("the first was deleted")
	}
}

// TestDropSurplus: what is due is dropped only if the state that the record follows says that it
// is surplus, and nothing was dropped since it was listed.
func TestDropSurplus(t *testing.T) {
	for _, one := range []struct {
		what      string
		meanwhile func(st *thinned)
		due       []string
		want      string
	}{
		{"nothing has happened", func(*thinned) {}, []string{"o1", "o3"}, "o1 o3"},
		{"one is not due yet", func(*thinned) {}, []string{"o3"}, "o3"},
		{"another manifest came, elsewhere", func(st *thinned) { st.name("other", "o1") }, []string{"o1", "o3"}, "o1 o3"},
		{"it is named at another place now", func(st *thinned) {
			st.record(Op{Kind: OpDeleteManifest, Digest: digest.FromString("manifest")})
			st.name("other", "o1")
		}, []string{"o1", "o3"}, "o3"},
		{"nothing names it any more", func(st *thinned) {
			st.record(Op{Kind: OpDeleteManifest, Digest: digest.FromString("manifest")})
		}, []string{"o1", "o3"}, ""},
		{"another deleter was faster", func(st *thinned) {
			st.record(Op{Kind: OpDropMembers, Digest: st.blob, Members: []string{"o1"}})
		}, []string{"o1", "o3"}, ""},
		{"what was dropped is forgotten", func(st *thinned) {
			st.record(Op{Kind: OpDropMembers, Digest: st.blob, Members: []string{"o1"}})
			st.record(Op{Kind: OpForgetSweeps, Seq: st.seq})
		}, []string{"o1", "o3"}, ""},
	} {
		st := newThinned("o2")
		listed := map[digest.Digest][]Member{st.blob: st.listed("o1", "o2", "o3")}
		seen := map[digest.Digest]uint64{st.blob: st.seq}
		one.meanwhile(st)

		ops, dropped := dropSurplus(st.state, listed, seen, st.listed(one.due...))
		if got := places(dropped); got != one.want || len(ops) != min(1, len(dropped)) {
			t.Errorf("%s: %q by %d operations, want %q", one.what, got, len(ops), one.want)
		}

		if want := fmt.Sprint(strings.Fields(one.want)); len(ops) > 0 && fmt.Sprint(ops[0].Members) != want {
			t.Errorf("%s: the record names %v, want %v", one.what, ops[0].Members, want)
		}
	}
}
