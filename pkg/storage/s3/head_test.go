package s3

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"zotregistry.io/zot/pkg/storage"
)

// headModel is a head, and the objects that there are.
type headModel struct {
	t        *testing.T
	head     *head
	now      time.Time
	segments map[string][]batch
	lists    map[string][]droppedRef
	states   map[string]bool // names of checkpoints
	names    int
	strict   bool // heads must stay as they were
}

func newHeadModel(t *testing.T) *headModel {
	t.Helper()

	return &headModel{
		t: t, head: &head{}, now: time.Unix(1_000_000, 0),
		segments: map[string][]batch{}, lists: map[string][]droppedRef{}, states: map[string]bool{},
	}
}

func (m *headModel) name(kind string) string {
	m.names++

	return fmt.Sprint(kind, "-", m.names)
}

// change replaces the head, and sees to it that the one before stays as it was: others
// read it.
func (m *headModel) change(change func(h *head) *head) {
	m.t.Helper()

	if !m.strict {
		m.head = change(m.head)

		return
	}

	before, err := json.Marshal(m.head)
	if err != nil {
		m.t.Fatal(err)
	}

	old := m.head
	m.head = change(old)

	if after, err := json.Marshal(old); err != nil || string(after) != string(before) {
		m.t.Fatalf("a head was changed: %s, was %s", after, before)
	}
}

func (m *headModel) append(records int) {
	next := batch{Token: m.name("token")}
	for i := range records {
		next.Records = append(next.Records, storage.Record{
			Seq: m.head.Seq + 1 + uint64(i), Who: "somebody who pushes",
			Ops: []storage.Op{{Kind: storage.OpDeleteTag, Tag: "some-tag-that-is-as-long-as-such-things-are-because-of-branches-and-dates"}},
		})
	}

	m.change(func(h *head) *head { return h.with(next) })
}

func (m *headModel) roll() {
	if len(m.head.Batches) == 0 {
		return
	}

	body, err := json.Marshal(m.head.Batches)
	if err != nil {
		m.t.Fatal(err)
	}

	name := m.name("segment")
	m.segments[name] = m.head.Batches
	m.change(func(h *head) *head { return h.rolled(name, int64(len(body))) })

	for {
		parts := m.head.mergeable()
		if len(parts) == 0 {
			return
		}

		merged, size := m.name("segment"), int64(0)
		for _, part := range parts {
			m.segments[merged] = append(m.segments[merged], m.segments[part.Name]...)
			size += part.Size
		}

		m.change(func(h *head) *head { return h.merged(len(parts), merged, size, m.now) })
	}
}

func (m *headModel) checkpoint(seq uint64) {
	if seq <= m.head.covered() {
		return
	}

	name := m.name("checkpoint")
	m.states[name] = true

	var due []string

	m.change(func(h *head) *head {
		next, gone := h.checkpointed(checkpointRef{seq, name}, m.now).swept(m.now)
		due = gone

		if shelved, list := next.shelved(m.name(dropList)); len(list) > 0 {
			m.lists[shelved.Dropped[len(shelved.Dropped)-1].Name] = list
			next = shelved
		}

		return next
	})

	for _, name := range due {
		m.remove(name)
	}
}

func (m *headModel) remove(name string) {
	for _, dropped := range m.lists[name] {
		m.remove(dropped.Name)
	}

	delete(m.lists, name)
	delete(m.segments, name)
	delete(m.states, name)
}

// check says whether the head leads from each of its checkpoints to its last record.
func (m *headModel) check() {
	m.t.Helper()

	for _, from := range []*checkpointRef{m.head.Checkpoint, m.head.Before} {
		if from != nil && !m.states[from.Name] {
			m.t.Fatalf("checkpoint %s is gone", from.Name)
		}
	}

	begin := uint64(0)

	switch {
	case m.head.Before != nil:
		begin = m.head.Before.Seq
	case m.head.Checkpoint != nil: // the one before that is the beginning
	}

	all := m.read(begin)
	for i, record := range all {
		if record.Seq != begin+1+uint64(i) {
			m.t.Fatalf("behind %d comes %d, not %d", begin, record.Seq, begin+1+uint64(i))
		}
	}

	if begin+uint64(len(all)) != m.head.Seq {
		m.t.Fatalf("records from %d on end at %d, not %d", begin, begin+uint64(len(all)), m.head.Seq)
	}
}

func (m *headModel) read(seq uint64) []storage.Record {
	m.t.Helper()

	var records []storage.Record

	for _, ref := range m.head.Segments {
		batches, ok := m.segments[ref.Name]
		if !ok || batches[0].first() != ref.First || batches[len(batches)-1].last() != ref.Last {
			m.t.Fatalf("segment %s is gone, or another", ref.Name)
		}

		records = append(records, recordsOf(batches, seq)...)
	}

	return append(records, recordsOf(m.head.Batches, seq)...)
}

func (m *headModel) size() int {
	m.t.Helper()

	body, err := json.Marshal(m.head)
	if err != nil {
		m.t.Fatal(err)
	}

	return len(body)
}

// TestHead changes heads at random. Whatever comes after what, a head leads from its
// checkpoints to its last record without a gap, and what it names is there.
func TestHead(t *testing.T) {
	for seed := range uint64(40) {
		m, dice := newHeadModel(t), rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a test's

		m.strict = true

		for range 300 {
			switch dice.IntN(6) {
			case 0, 1, 2:
				m.append(1 + dice.IntN(5))
			case 3:
				m.roll()
			case 4:
				m.now = m.now.Add(time.Duration(dice.Int64N(int64(10 * time.Hour))))
			case 5:
				m.checkpoint(dice.Uint64N(m.head.Seq + 1))
			}

			m.check()
		}
	}
}

// TestHeadStaysSmall pushes for days: each push writes the head, so it must not grow.
func TestHeadStaysSmall(t *testing.T) {
	for name, entriesGrow := range map[string]bool{"the same tags again and again": false, "tags that are new": true} {
		t.Run(name, func(t *testing.T) {
			m := newHeadModel(t)
			largest, bytes := 0, 0

			for range 20_000 {
				m.append(5)
				m.now = m.now.Add(3 * time.Second)

				if bytes += 1000; bytes > maxHead {
					m.roll()

					bytes = 0
				}

				due := uint64(300)
				if entriesGrow {
					due = max(due, m.head.Seq/4)
				}

				if m.head.Seq >= m.head.covered()+due {
					m.checkpoint(m.head.Seq)
				}

				if m.head.Seq%1000 == 0 {
					largest = max(largest, m.size())
				}
			}

			m.check()
			t.Logf("%d records: the head had up to %d bytes, of %d segments and %d dropped", m.head.Seq, largest, len(m.head.Segments), len(m.head.Dropped))

			if largest > 3*maxHead {
				t.Errorf("the head had %d bytes", largest)
			}
		})
	}
}

// TestHeadSweep: what was dropped goes a day later, and not before.
func TestHeadSweep(t *testing.T) {
	m := newHeadModel(t)

	for seq := range uint64(1000) {
		m.append(1)
		m.roll()
		m.checkpoint(seq)
		m.now = m.now.Add(time.Minute)
	}

	if len(m.states) < 900 {
		t.Errorf("%d checkpoints of this day are left", len(m.states))
	}

	m.now = m.now.Add(keptFor + time.Minute)
	m.append(1)
	m.checkpoint(m.head.Seq)
	m.check()

	if left := len(m.states) + len(m.lists); left > 10 {
		t.Errorf("%d objects are left of yesterday", left)
	}

	if lost := m.lost(); len(lost) > 0 {
		t.Errorf("the records %v are in no segment", lost)
	}
}

// lost are the numbers of the records that are neither in the head nor in a segment, whether
// the head names it or not.
func (m *headModel) lost() []uint64 {
	left := map[uint64]bool{}

	for _, batches := range append(slices.Collect(maps.Values(m.segments)), m.head.Batches) {
		for _, record := range recordsOf(batches, 0) {
			left[record.Seq] = true
		}
	}

	var lost []uint64

	for seq := uint64(1); seq <= m.head.Seq; seq++ {
		if !left[seq] {
			lost = append(lost, seq)
		}
	}

	return lost
}

func FuzzHead(f *testing.F) {
	m := newHeadModel(&testing.T{})
	m.append(2)
	m.roll()
	m.append(1)
	m.checkpoint(2)

	m.head.Format = headFormat
	body, _ := json.Marshal(m.head) //nolint:errchkjson // as the code does
	f.Add(body)
	f.Add([]byte(`{"format":1,"seq":3,"batches":[{"token":"t","records":[]}]}`))
	f.Add([]byte(`{"format":1,"seq":18446744073709551615,"batches":[{"token":"t","records":[{"seq":0}]}]}`))
	f.Add([]byte(`{"format":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := decodeHead(data)
		if err != nil {
			return
		}

		if problem := h.check(); problem != nil {
			t.Fatal(problem)
		}

		again, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}

		back, err := decodeHead(again)
		if err != nil {
			t.Fatalf("%v: %s", err, again)
		}

		if twice, _ := json.Marshal(back); !reflect.DeepEqual(again, twice) { //nolint:errchkjson // it was so a moment ago
			t.Fatalf("%s became %s", again, twice)
		}
	})
}
