package storage

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// TestSweptSince: whoever looked before a sweep has to look again, also when the sweep is
// forgotten, and after a checkpoint.
func TestSweptSince(t *testing.T) {
	one, other := digest.FromString("one"), digest.FromString("other")

	st := newState()
	for i, op := range []Op{
		{Kind: OpCondemn, Digest: one},
		{Kind: OpSweep, Digest: one},
		{Kind: OpCondemn, Digest: other},
		{Kind: OpSweep, Digest: other},
	} {
		st.fold(Record{Seq: uint64(i + 1), Time: time.Unix(int64(i), 0), Ops: []Op{op}})
	}

	check := func(when string, dgst digest.Digest, seen uint64, want bool) {
		t.Helper()

		var buf bytes.Buffer
		if err := encodeCheckpoint(&buf, st); err != nil {
			t.Fatal(err)
		}

		read, err := decodeCheckpoint(&buf)
		if err != nil {
			t.Fatal(err)
		}

		for _, st := range []*state{st, read} {
			if got := st.sweptSince(dgst, seen); got != want {
				t.Errorf("%s: swept since record %d: %v, want %v", when, seen, got, want)
			}
		}
	}

	check("swept by record 2", one, 1, true)
	check("swept by record 2", one, 2, false)
	check("swept by record 4", other, 3, true)

	st.fold(Record{Seq: 5, Ops: []Op{{Kind: OpForgetSweeps, Seq: 2}}})

	check("forgotten", one, 1, true)
	check("forgotten", one, 2, false)
	check("not forgotten", other, 3, true)
	check("of what was never swept, seen long ago", digest.FromString("third"), 1, true)

	if !st.counted(one)("", 0) || st.counted(other)("", 3) {
		t.Error("what was forgotten is not gone, or too much is")
	}
}

// TestCondemnations: the time counts from when a record was seen first, and anew for a new one.
func TestCondemnations(t *testing.T) {
	one, other := digest.FromString("one"), digest.FromString("other")
	c := newCondemnations()
	at := func(minutes int) time.Time { return time.Unix(int64(minutes)*60, 0) }

	st := newState()
	st.fold(Record{Seq: 1, Ops: []Op{{Kind: OpCondemn, Digest: one}, {Kind: OpCondemn, Digest: other}}})
	c.observe("a", st, at(0))

	if since := c.observe("a", st, at(1)); !since[1].Equal(at(0)) {
		t.Errorf("record 1 was seen at 0, not %s", since[1])
	}

	if since := c.observe("b", st, at(2)); !since[1].Equal(at(2)) {
		t.Errorf("that of another repository was seen at 2, not %s", since[1])
	}

	st.fold(Record{Seq: 2, Ops: []Op{{Kind: OpRenew, Digest: one}}})
	st.fold(Record{Seq: 3, Ops: []Op{{Kind: OpCondemn, Digest: one}}})

	since := c.observe("a", st, at(3))
	if !since[1].Equal(at(0)) || !since[3].Equal(at(3)) {
		t.Errorf("records 1 and 3 were seen at 0 and 3, not %v", since)
	}

	st.fold(Record{Seq: 4, Ops: []Op{{Kind: OpSweep, Digest: one}, {Kind: OpSweep, Digest: other}}})
	c.observe("a", st, at(4))

	if _, left := c.seen["a"]; left {
		t.Error("what condemns nothing any more is not forgotten")
	}
}

// TestNeeds: what a state needs is found, and little else.
func TestNeeds(t *testing.T) {
	layer, loose := digest.FromString("layer"), digest.FromString("loose")
	manifest := &ManifestRecord{Digest: digest.FromString("manifest"), Blobs: []Ref{{Digest: layer}}}
	buried := &ManifestRecord{Digest: digest.FromString("buried"), Blobs: []Ref{{Digest: digest.FromString("bone")}}}

	st := newState()
	st.fold(Record{Seq: 1, Ops: []Op{{Kind: OpPutManifest, Manifest: manifest}, {Kind: OpPutManifest, Manifest: buried}}})
	st.fold(Record{Seq: 2, Ops: []Op{{Kind: OpDeleteManifest, Digest: buried.Digest}}})

	n := newNeeds()
	n.add("a", st)
	n.add("b", newState())
	n.seal()

	for _, dgst := range []digest.Digest{layer, manifest.Digest, buried.Digest, digest.FromString("bone")} {
		if !n.has("a", dgst) || !n.hasDigest(dgst) {
			t.Errorf("%s is needed", dgst)
		}
	}

	if n.has("a", loose) || n.hasDigest(loose) || n.has("b", layer) {
		t.Error("what is not needed seems to be")
	}
}

// TestReviveSwept: what a deleted manifest names was swept after it was looked for.
func TestReviveSwept(t *testing.T) {
	layer := digest.FromString("layer")
	manifest := &ManifestRecord{Digest: digest.FromString("manifest"), Blobs: []Ref{{Digest: layer}}}

	st := newState()
	st.fold(Record{Seq: 1, Ops: []Op{{Kind: OpPutManifest, Manifest: manifest}}})
	st.fold(Record{Seq: 2, Ops: []Op{{Kind: OpDeleteManifest, Digest: manifest.Digest}}})

	b, _ := st.burials.Get(manifest.Digest)
	back := &revival{burials: []*burial{b}, seen: st.clone()}

	if _, err := back.ops(st); err != nil {
		t.Errorf("when nothing has happened: %v", err)
	}

	st.fold(Record{Seq: 3, Ops: []Op{{Kind: OpCondemn, Digest: layer}}})
	st.fold(Record{Seq: 4, Ops: []Op{{Kind: OpSweep, Digest: layer}}})

	if _, err := back.ops(st); !errors.Is(err, errMoved) {
		t.Errorf("when its layer was swept: %v", err)
	}
}
