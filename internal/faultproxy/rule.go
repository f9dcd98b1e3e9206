package faultproxy

import (
	"context"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"
)

// Kind is what a fault does.
type Kind int

// Kinds of faults. Where a kind is said to come before or after, the rule's After
// decides whether the server sees the request: after means that it did what was asked,
// and the client learns otherwise.
const (
	// None is the kind of a request that met no fault.
	None Kind = iota
	// SlowDown answers 503 SlowDown, before or after.
	SlowDown
	// InternalError answers 500 InternalError, before or after.
	InternalError
	// Conflict answers 409 ConditionalRequestConflict, before or after.
	Conflict
	// ErrorBody answers 200 with an error as its body, before or after. S3 does this for
	// CompleteMultipartUpload, CopyObject and UploadPartCopy, which it takes long for.
	ErrorBody
	// ConnReset closes the client's connection with a TCP reset, before or after. Go's
	// http.Transport sends a GET or HEAD again by itself if that was a connection it
	// had used before: the client then sees no error.
	ConnReset
	// Truncate sends the answer's headers and half of its body, and then a reset. An
	// answer without a body is reset as a whole.
	Truncate
	// Hold waits for Release or for the rule's Delay, before or after, and goes on.
	Hold
	// Blackhole reads no further than the headers and answers nothing until Release or
	// for the rule's Delay, and then resets the connection.
	Blackhole
	// Duplicate passes the request and its answer on, and sends the request again after
	// Release or the rule's Delay. The body is kept in a file for so long.
	Duplicate
	// Late reads the request and resets the connection. The server gets the request after
	// Release or the rule's Delay. The body is kept in a file for so long.
	Late
)

var kinds = [...]string{
	None: "none", SlowDown: "slow down", InternalError: "internal error", Conflict: "conflict",
	ErrorBody: "error body", ConnReset: "connection reset", Truncate: "truncate", Hold: "hold",
	Blackhole: "blackhole", Duplicate: "duplicate", Late: "late",
}

// String returns the kind's name, for messages of tests.
func (k Kind) String() string { return kinds[k] }

// replaces says whether the client gets something else than the server's answer.
func (k Kind) replaces() bool { return SlowDown <= k && k <= ConnReset }

// Rule says which requests meet a fault, and which.
type Rule struct {
	// Match chooses requests; nil chooses all. Calls come one at a time, in the order
	// in which requests arrive, and must not call the proxy.
	Match func(Request) bool
	// Kind is the fault.
	Kind Kind
	// After makes it happen when the server has answered, not before it is asked.
	After bool
	// Delay is how long to wait, for kinds that wait. Zero waits for Release only.
	Delay time.Duration
	// Times bounds how many requests meet the fault. Zero is no bound.
	Times int
	// Chance is the probability with which a request that matches meets the fault. Zero
	// is always. Whether the n-th request of an operation on a key does so depends on
	// the proxy's seed and the rule's place alone, not on what else is under way.
	Chance float64
}

// Fault is a rule at work. Its methods may be called concurrently.
type Fault struct {
	rule  Rule
	place uint64 // how many rules the proxy had before

	release  sync.Once
	released chan struct{} // closed by Release

	mu      sync.Mutex
	removed bool
	hits    int
	pending int           // late requests and duplicates that are not answered yet
	changed chan struct{} // closed and made anew when hits or pending change
}

func newFault(rule Rule, place uint64) *Fault {
	return &Fault{rule: rule, place: place, released: make(chan struct{}), changed: make(chan struct{})}
}

// Hits returns how many requests met the fault.
func (f *Fault) Hits() int {
	f.mu.Lock()
	defer f.mu.Unlock()

	return f.hits
}

// Remove lets later requests pass. Those held are still held.
func (f *Fault) Remove() {
	f.mu.Lock()
	defer f.mu.Unlock()

	f.removed = true
}

// Release ends the wait of the requests that are held, and of later ones.
func (f *Fault) Release() { f.release.Do(func() { close(f.released) }) }

// Await waits until n requests met the fault.
//
// Errors: that of ctx.
func (f *Fault) Await(ctx context.Context, n int) error {
	return f.until(ctx, func() bool { return f.hits >= n })
}

// Settle waits until the server has answered the late requests and duplicates that
// there are. It does not release them.
//
// Errors: that of ctx.
func (f *Fault) Settle(ctx context.Context) error {
	return f.until(ctx, func() bool { return f.pending == 0 })
}

// until calls done with the lock held.
func (f *Fault) until(ctx context.Context, done func() bool) error {
	for {
		f.mu.Lock()
		ok, changed := done(), f.changed
		f.mu.Unlock()

		if ok {
			return nil
		}

		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// meets says whether this request meets the fault, and counts it if so.
func (f *Fault) meets(r Request, seed uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()

	spent := f.removed || f.rule.Times > 0 && f.hits >= f.rule.Times
	if spent || f.rule.Match != nil && !f.rule.Match(r) || !f.drawn(r, seed) {
		return false
	}

	f.hits++

	// One that is sent later counts as soon as it is chosen: a test that has waited for
	// the hit can settle.
	if f.rule.Kind == Late || f.rule.Kind == Duplicate {
		f.pending++
	}

	f.wake()

	return true
}

// settled counts a late request or duplicate that was answered, or given up.
func (f *Fault) settled() {
	f.mu.Lock()
	defer f.mu.Unlock()

	f.pending--
	f.wake()
}

func (f *Fault) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// drawn throws the dice that belong to this request.
func (f *Fault) drawn(r Request, seed uint64) bool {
	if f.rule.Chance == 0 {
		return true
	}

	h := fnv.New64a()
	_, _ = h.Write([]byte(string(r.Operation) + "\x00" + r.Bucket + "\x00" + r.Key)) // never fails

	dice := rand.New(rand.NewPCG(seed^h.Sum64(), f.place<<32|uint64(r.NthOfKey)))

	return dice.Float64() < f.rule.Chance
}

// wait returns true when the fault is released or its delay is over, and false if
// ctx ends before.
func (f *Fault) wait(ctx context.Context) bool {
	var over <-chan time.Time

	if f.rule.Delay > 0 {
		timer := time.NewTimer(f.rule.Delay)
		defer timer.Stop()

		over = timer.C
	}

	select {
	case <-f.released:
		return true
	case <-over:
		return true
	case <-ctx.Done():
		return false
	}
}
