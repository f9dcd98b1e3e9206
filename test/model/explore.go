package model

import (
	"fmt"
	"slices"
	"time"
)

// System is what explore walks through: a start, and what may happen next.
type System[S comparable] interface {
	Init() S

	// Next calls emit with each state that one step leads to.
	Next(state S, emit func(Step, S))

	// Check returns which invariant a state breaks; "" = none.
	Check(state S) string

	// Key is equal for states that are the same but for names. Two states that differ
	// share a key with a probability of 2^-64: with n states, one is overlooked with
	// about n²/2^65, which is one in a million at six million states.
	Key(state S) uint64
}

// Step is what happened between two states.
type Step struct {
	Proc int    // who; environment = nobody in particular
	Text string // what, for a reader; "%d" stands for Arg
	Arg  int
}

const environment = -1

func (s Step) what() string {
	if slices.Contains([]byte(s.Text), '%') {
		return fmt.Sprintf(s.Text, s.Arg)
	}

	return s.Text
}

// Result is what explore found.
type Result[S comparable] struct {
	States   int // different ones, up to symmetry
	Steps    int // edges between them
	Depth    int // steps to the state farthest away
	Complete bool
	Time     time.Duration

	Broken string // the invariant; "" = none
	Trace  []Visit[S]
}

// Visit is a state of a trace and the step that led to it.
type Visit[S comparable] struct {
	Step  Step
	State S
}

func (r Result[S]) String() string {
	verdict := "holds"

	switch {
	case r.Broken != "":
		verdict = fmt.Sprintf("BROKEN in %d steps: %s", r.Depth, r.Broken)
	case !r.Complete:
		verdict = "no violation, but NOT ALL states were seen"
	}

	return fmt.Sprintf("%9d states %10d steps depth %3d %6.1fs  %s",
		r.States, r.Steps, r.Depth, r.Time.Seconds(), verdict)
}

// explore visits all states that can be reached, nearest first, so that the first
// violation has the shortest trace. It gives up after limit states; 0 = never.
func explore[S comparable](sys System[S], limit int) Result[S] {
	e := explorer[S]{sys: sys, seen: newTable(), limit: limit}
	began := time.Now()
	result := e.run()
	result.Time = time.Since(began)

	return result
}

type explorer[S comparable] struct {
	sys   System[S]
	seen  *table // key of a state -> key of the state before it
	limit int
	next  []S
	steps int

	broken    string
	brokenKey uint64
}

func (e *explorer[S]) run() Result[S] {
	init := e.sys.Init()
	e.visit(e.sys.Key(init), init)

	depth := 0
	for len(e.next) > 0 && e.broken == "" && !e.full() {
		states := e.next
		e.next = make([]S, 0, len(states)+len(states)/4)

		for _, state := range states {
			e.expand(state)
		}

		if len(e.next) > 0 {
			depth++
		}
	}

	result := Result[S]{
		States: e.seen.count, Steps: e.steps, Depth: depth, Broken: e.broken,
		Complete: len(e.next) == 0,
	}
	if e.broken != "" {
		result.Trace = e.trace(init)
	}

	return result
}

func (e *explorer[S]) full() bool { return e.limit > 0 && e.seen.count > e.limit }

func (e *explorer[S]) expand(state S) {
	if e.broken != "" || e.full() {
		return
	}

	key := e.sys.Key(state)

	e.sys.Next(state, func(_ Step, next S) {
		e.steps++
		e.visit(key, next)
	})
}

func (e *explorer[S]) visit(from uint64, state S) {
	key := e.sys.Key(state)
	if !e.seen.add(key, from) {
		return
	}

	e.next = append(e.next, state)

	if broken := e.sys.Check(state); broken != "" && e.broken == "" {
		e.broken, e.brokenKey = broken, key
	}
}

// trace walks from init to the broken state: the table has the keys on the way.
func (e *explorer[S]) trace(init S) []Visit[S] {
	first := e.sys.Key(init)
	keys := []uint64{e.brokenKey}

	for key := e.brokenKey; key != first; {
		key = e.seen.get(key)
		keys = append(keys, key)
	}

	slices.Reverse(keys)

	visits := []Visit[S]{{State: init, Step: Step{Proc: environment, Text: "at first"}}}
	for _, key := range keys[1:] {
		var found *Visit[S]

		e.sys.Next(visits[len(visits)-1].State, func(step Step, next S) {
			if found == nil && e.sys.Key(next) == key {
				found = &Visit[S]{Step: step, State: next}
			}
		})

		visits = append(visits, *found)
	}

	return visits
}

// table is a hash table from key to key with 16 bytes an entry. The keys are hashes.
type table struct {
	keys, values []uint64 // key 0 = free
	count        int
}

func newTable() *table {
	const size = 1 << 12

	return &table{keys: make([]uint64, size), values: make([]uint64, size)}
}

// add says whether key is new.
func (t *table) add(key, value uint64) bool {
	if 4*t.count >= 3*len(t.keys) {
		t.grow()
	}

	i := t.find(key)
	if t.keys[i] != 0 {
		return false
	}

	t.keys[i], t.values[i] = key, value
	t.count++

	return true
}

func (t *table) get(key uint64) uint64 { return t.values[t.find(key)] }

func (t *table) find(key uint64) int {
	mask := uint64(len(t.keys) - 1)

	i := key & mask
	for t.keys[i] != 0 && t.keys[i] != key {
		i = (i + 1) & mask
	}

	return int(i)
}

func (t *table) grow() {
	old := *t
	t.keys, t.values = make([]uint64, 2*len(old.keys)), make([]uint64, 2*len(old.keys))

	for i, key := range old.keys {
		if key != 0 {
			at := t.find(key)
			t.keys[at], t.values[at] = key, old.values[i]
		}
	}
}
