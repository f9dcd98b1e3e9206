package model

import "testing"

// jugs holds 3 and 5 litres; 4 are wanted.
type jugs struct{}

type litres struct{ small, big int }

func (jugs) Init() litres        { return litres{} }
func (jugs) Key(s litres) uint64 { return uint64(1 + 10*s.small + s.big) }
func (jugs) Check(s litres) string {
	if s.big == 4 {
		return "4 litres"
	}

	return ""
}

func (jugs) Next(s litres, emit func(Step, litres)) {
	emit(Step{Text: "fill %d", Arg: 3}, litres{3, s.big})
	emit(Step{Text: "fill %d", Arg: 5}, litres{s.small, 5})
	emit(Step{Text: "empty %d", Arg: 3}, litres{0, s.big})
	emit(Step{Text: "empty %d", Arg: 5}, litres{s.small, 0})

	poured := min(s.small, 5-s.big)
	emit(Step{Text: "pour into %d", Arg: 5}, litres{s.small - poured, s.big + poured})

	poured = min(s.big, 3-s.small)
	emit(Step{Text: "pour into %d", Arg: 3}, litres{s.small + poured, s.big - poured})
}

func TestExploreFindsTheShortestTrace(t *testing.T) {
	result := explore[litres](jugs{}, 0)

	if result.Broken != "4 litres" || result.Depth != 6 || len(result.Trace) != 7 {
		t.Fatalf("%v, trace of %d", result, len(result.Trace))
	}

	if last := result.Trace[6]; last.State.big != 4 || last.Step.what() != "pour into 3" {
		t.Errorf("the last step is %q to %v", last.Step.what(), last.State)
	}
}

func TestExploreStopsAtItsLimit(t *testing.T) {
	if result := explore[litres](jugs{}, 4); result.Complete || result.Broken != "" {
		t.Error(result)
	}
}

func TestTableKeepsWhatItWasGiven(t *testing.T) {
	table := newTable()

	const n = 100_000
	for i := range uint64(n) {
		if !table.add(i*0x9E3779B97F4A7C15+1, i) {
			t.Fatalf("%d is not new", i)
		}
	}

	for i := range uint64(n) {
		if key := i*0x9E3779B97F4A7C15 + 1; table.get(key) != i || table.add(key, 0) {
			t.Fatalf("%d is lost", i)
		}
	}
}
