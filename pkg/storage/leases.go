package storage

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// leases are what clients of this process may count on: a positive answer about what
// nothing in a repository's state holds. GC leaves it alone for gcDelay. What the state
// holds needs none: it is remembered when it was let go of. In a bucket, records take the
// place of leases (docs/s3-format.md, "Deleting"): other processes have to know.
type leases struct {
	now func() time.Time

	mu     sync.Mutex // guards what follows
	held   map[string]*lease
	ending *list.List // those that an answer has left, in the order in which they end
}

// lease is of one key.
type lease struct {
	key    string
	since  time.Time     // of the last answer
	pins   int           // answers that are under way
	doomed chan struct{} // GC is deleting it; closed when that is over
	place  *list.Element // in ending; nil = no answer has left it yet
}

func newLeases(now func() time.Time) *leases {
	return &leases{now: now, held: map[string]*lease{}, ending: list.New()}
}

// pin leases keys until the pins are ended. Whoever looks at what is there has to do so
// afterwards: if GC is deleting it at this moment, pin waits for the end of that, which is one
// rename; for manifests that retention removes, one commit.
func (l *leases) pin(keys ...string) *pins {
	for _, key := range keys {
		for doomed := l.tryPin(key); doomed != nil; doomed = l.tryPin(key) {
			<-doomed
		}
	}

	return &pins{leases: l, keys: keys}
}

// pins are of one answer that is under way.
type pins struct {
	leases *leases
	keys   []string
}

// after is what becomes of a lease after an answer.
type after int

const (
	afterThere after = iota // it begins anew
	afterGone               // nothing is there: it is as it was before, so who asks for what never was takes no memory
	afterHeld               // the state holds it: it is not needed any more
)

// end ends the pins. become says what the answer was about each key; nil = that all are there.
func (p *pins) end(become func(n int) after) {
	p.leases.mu.Lock()
	defer p.leases.mu.Unlock()

	for n, key := range p.keys {
		how := afterThere
		if become != nil {
			how = become(n)
		}

		p.leases.unpin(p.leases.held[key], how)
	}
}

// unpin ends one pin. l.mu is held.
func (l *leases) unpin(held *lease, how after) {
	held.pins--

	switch {
	case how == afterThere:
		l.begin(held)
	case held.pins == 0 && (held.place == nil || how == afterHeld):
		l.forget(held)
	}
}

// begin begins a lease anew. l.mu is held.
func (l *leases) begin(held *lease) {
	held.since = l.now()

	if held.place == nil {
		held.place = l.ending.PushBack(held)
	} else {
		l.ending.MoveToBack(held.place)
	}
}

// forget ends a lease. l.mu is held.
func (l *leases) forget(held *lease) {
	delete(l.held, held.key)

	if held.place != nil {
		l.ending.Remove(held.place)
		held.place = nil
	}
}

// tryPin pins a key, unless it is doomed. Then it returns what to wait for.
func (l *leases) tryPin(key string) (doomed chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()

	held := l.held[key]
	if held == nil {
		held = &lease{key: key}
		l.held[key] = held
	}

	if held.doomed == nil {
		held.pins++
	}

	return held.doomed
}

// doom keeps others from leasing a key, until spare. It does not where a lease is younger
// than age.
func (l *leases) doom(key string, age time.Duration) (spare func(), ok bool) {
	return l.doomIf(func(held *lease) bool { return l.now().Sub(held.since) >= age }, key)
}

// doomIf dooms keys, all or none, if may says so of those that are leased.
func (l *leases) doomIf(may func(*lease) bool, keys ...string) (spare func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()

	for _, key := range keys {
		if held := l.held[key]; held != nil && (held.doomed != nil || held.pins > 0 || !may(held)) {
			return nil, false
		}
	}

	doomed := make(chan struct{})
	for _, key := range keys {
		if held := l.held[key]; held != nil {
			l.forget(held)
		}

		l.held[key] = &lease{key: key, doomed: doomed}
	}

	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()

		for _, key := range keys {
			delete(l.held, key)
		}

		close(doomed)
	}, true
}

// pinPoll is how often doomAll looks whether answers are still under way.
const pinPoll = 5 * time.Millisecond

// doomAll keeps others from leasing keys, until spare, whoever counts on them. It waits for
// the answers that are under way, and keeps none of the keys meanwhile: such an answer may
// wait for another of them.
func (l *leases) doomAll(ctx context.Context, keys []string) (spare func(), err error) {
	for {
		if spare, ok := l.doomIf(func(*lease) bool { return true }, keys...); ok {
			return spare, nil
		}

		select {
		case <-time.After(pinPoll):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// since says when a key was leased last: now, if an answer is under way; zero if it is
// not leased.
func (l *leases) since(key string) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()

	switch held := l.held[key]; {
	case held == nil || held.doomed != nil:
		return time.Time{}
	case held.pins > 0:
		return l.now()
	default:
		return held.since
	}
}

// expire forgets leases that are older than age. It looks at those that come due only.
func (l *leases) expire(age time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()

	now := l.now()

	for range l.ending.Len() {
		held := l.ending.Front().Value.(*lease) //nolint:forcetypeassert // nothing else is in it

		switch {
		case now.Sub(held.since) < age:
			return
		case held.pins > 0:
			l.begin(held)
		default:
			l.forget(held)
		}
	}
}

// leased has GC leave alone what a client is about to be told that r holds, and then calls
// look, which looks whether it does. In a bucket that may be more than once. While a
// deletion is being written the state still holds what it will have let go of earlier: when
// that was decided.
func (s *Store) leased(ctx context.Context, r *repository, dgst digest.Digest, look func() error) error {
	if s.remote {
		return s.renewed(ctx, r, dgst, look)
	}

	if !r.isCommitting() && r.visible.Load().holds(dgst) { // in this order
		return look()
	}

	pins := s.pin(r, dgst)

	err := look()

	pins.end(func(int) after {
		if errors.Is(err, ErrBlobUnknown) {
			return afterGone
		}

		return afterThere
	})

	return err
}

// pin does so until the pins are ended, for what may not be there yet.
func (s *Store) pin(r *repository, dgsts ...digest.Digest) *pins {
	if s.remote {
		return &pins{leases: s.leases}
	}

	keys := make([]string, len(dgsts))
	for i, dgst := range dgsts {
		keys[i] = BlobKey(r.name, dgst)
	}

	return s.leases.pin(keys...)
}
