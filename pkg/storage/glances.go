package storage

import (
	"context"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// glances are files of a repository as they were seen a moment ago: to look at the same ones
// again for each request takes longer than all else that a small answer takes here. An answer
// that changes nothing may be from them (Options.LookAfter); what is committed, collected or
// checked never is. Methods may be called concurrently.
type glances struct {
	mu   sync.RWMutex // guards seen
	seen map[digest.Digest]glance
}

// glance is what was seen of bytes that the state held, so that no lease is needed, at a moment.
type glance struct {
	moment

	info Info
}

// moment is when, and after how many changes of ours.
type moment struct {
	at      time.Time
	seq     uint64 // of the state
	changes uint64 // of the driver
}

const glancesMost = 4096 // then all are forgotten

// indexFor bounds how long index.json is taken for the one that was seen: what another program
// has written there is to be served soon.
const indexFor = 10 * time.Millisecond

// glanced returns what was seen of bytes, if that still counts: the state holds them, so that
// they need no lease.
func (r *repository) glanced(dgst digest.Digest) (Info, bool) {
	if r.store.opts.LookAfter == 0 {
		return Info{}, false
	}

	r.glances.mu.RLock()
	last, ok := r.glances.seen[dgst]
	r.glances.mu.RUnlock()

	if !ok || r.isCommitting() { // before the state is looked at, as for leases
		return Info{}, false
	}

	now, countable := r.moment()
	ok = countable && now.seq == last.seq && now.changes == last.changes && now.at.Sub(last.at) < r.store.opts.LookAfter

	return last.info, ok && !r.store.durability.isDamaged(last.info.Key)
}

// moment is now. It does not count where others write, too.
func (r *repository) moment() (now moment, countable bool) {
	driver, ok := r.store.driver.(Changer)
	if !ok {
		return moment{}, false
	}

	return moment{r.store.opts.Now(), r.visible.Load().seq, driver.Changes()}, true
}

// glance is stat for an answer that changes nothing.
func (s *Store) glance(ctx context.Context, r *repository, dgst digest.Digest) (Info, error) {
	if info, ok := r.glanced(dgst); ok {
		return info, nil
	}

	before, countable := r.moment()
	held := s.opts.LookAfter > 0 && countable && !r.isCommitting() && r.visible.Load().holds(dgst)

	info, err := s.stat(ctx, r, dgst)
	if err == nil && held {
		r.glances.put(dgst, glance{before, info})
	}

	return info, err
}

func (g *glances) put(dgst digest.Digest, last glance) {
	g.mu.Lock()
	defer g.mu.Unlock()

	if g.seen == nil || len(g.seen) >= glancesMost {
		g.seen = map[digest.Digest]glance{}
	}

	g.seen[dgst] = last
}
