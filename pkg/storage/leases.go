package storage

import (
	"context"
	"errors"
	"slices"
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

	mu   sync.Mutex // guards held
	held map[string]*lease

	// ending are all leases that an answer has left, each once, about in the order in which they
	// end: one that was renewed since is put behind again when it comes to the front.
	ending []ending
}

type ending struct {
	key   string
	lease *lease
	since time.Time // of the lease, when it came here
}

// lease is of one key.
type lease struct {
	since  time.Time     // of the last answer
	pins   int           // answers that are under way
	doomed chan struct{} // GC is deleting it; closed when that is over
	queued bool          // in ending
}

func newLeases(now func() time.Time) *leases {
	return &leases{now: now, held: map[string]*lease{}}
}

// hold leases a key. Whoever looks at what is there has to do so afterwards: if GC is
// deleting it at this moment, hold waits for the end of that, which is one rename.
func (l *leases) hold(key string) { l.pin(key)() }

// pin leases keys until unpin, and from then on as hold does, but for those of which unpin is
// told that nothing is there: so those who ask for what never was take no memory.
func (l *leases) pin(keys ...string) (unpin func(gone ...string)) {
	for _, key := range keys {
		for doomed := l.tryPin(key); doomed != nil; doomed = l.tryPin(key) {
			<-doomed
		}
	}

	return func(gone ...string) {
		dropped := make(map[string]bool, len(gone))
		for _, key := range gone {
			dropped[key] = true
		}

		l.mu.Lock()
		defer l.mu.Unlock()

		for _, key := range keys {
			l.unpin(key, dropped[key])
		}
	}
}

// unpin ends one pin of a key. One that is dropped has no lease but that from before, if there
// is one. l.mu is held.
func (l *leases) unpin(key string, dropped bool) {
	held := l.held[key]
	held.pins--

	switch {
	case !dropped:
		held.since = l.now()

		if !held.queued {
			held.queued = true
			l.ending = append(l.ending, ending{key, held, held.since})
		}
	case held.pins == 0 && !held.queued:
		delete(l.held, key)
	}
}

// tryPin pins a key, unless it is doomed. Then it returns what to wait for.
func (l *leases) tryPin(key string) (doomed chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()

	held := l.held[key]
	if held == nil {
		held = &lease{}
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
		l.held[key] = &lease{doomed: doomed}
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

	due := 0
	for due < len(l.ending) && now.Sub(l.ending[due].since) >= age {
		due++
	}

	renewed := make([]ending, 0, due)

	for _, end := range l.ending[:due] {
		held := l.held[end.key]

		switch {
		case held != end.lease: // GC has taken it away
		case held.pins > 0 || now.Sub(held.since) < age:
			renewed = append(renewed, ending{end.key, held, held.since})
		default:
			delete(l.held, end.key)
		}
	}

	if due > 0 { // a copy: the memory of those that are gone is freed
		l.ending = append(slices.Clone(l.ending[due:]), renewed...)
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

	if _, ok := r.glanced(dgst); ok {
		return look()
	}

	if !r.isCommitting() && r.visible.Load().holds(dgst) { // in this order
		return look()
	}

	unpin := s.pin(r, dgst)

	err := look()
	if errors.Is(err, ErrBlobUnknown) {
		unpin(dgst)
	} else {
		unpin()
	}

	return err
}

// pin does so from now until unpin, for what may not be there yet, and for longer unless unpin
// is told that it is not.
func (s *Store) pin(r *repository, dgsts ...digest.Digest) (unpin func(gone ...digest.Digest)) {
	if s.remote {
		return func(...digest.Digest) {}
	}

	unpinKeys := s.leases.pin(keysOf(r, dgsts)...)

	return func(gone ...digest.Digest) { unpinKeys(keysOf(r, gone)...) }
}

func keysOf(r *repository, dgsts []digest.Digest) []string {
	keys := make([]string, len(dgsts))
	for i, dgst := range dgsts {
		keys[i] = BlobKey(r.name, dgst)
	}

	return keys
}
