package storage

import (
	"context"
	"sync"

	"github.com/opencontainers/go-digest"
)

// maxOwed is how many puts are kept for later: some megabytes, and more than are made
// in the time that the restart of a server takes.
const maxOwed = 10_000

// owedPuts are the puts that the cache did not take: it was away, or the client that
// had sent the blob was. They are made later, since a cache that lacks some entries
// while it has the engine's own would be taken for complete. The zero value is ready
// for use.
type owedPuts struct {
	mu    sync.Mutex // guards what follows
	pairs []owedPut
	lost  bool // there were more
}

type owedPut struct {
	dgst digest.Digest
	key  string
}

func (o *owedPuts) add(put owedPut) {
	o.mu.Lock()
	defer o.mu.Unlock()

	if len(o.pairs) < maxOwed {
		o.pairs = append(o.pairs, put)
	} else {
		o.lost = true
	}
}

// next takes one out.
func (o *owedPuts) next() (put owedPut, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()

	if len(o.pairs) == 0 {
		o.pairs = nil // the memory of the many that there were

		return owedPut{}, false
	}

	put = o.pairs[0]
	o.pairs = o.pairs[1:]

	return put, true
}

// isAny says whether anything is owed.
func (o *owedPuts) isAny() bool {
	o.mu.Lock()
	defer o.mu.Unlock()

	return o.lost || len(o.pairs) > 0
}

// forgetLost says whether there were too many, so that the cache must be filled, and
// forgets it: who fills it begins now.
func (o *owedPuts) forgetLost() bool {
	o.mu.Lock()
	defer o.mu.Unlock()

	lost := o.lost
	o.lost = false

	return lost
}

// payOwed makes the puts that are owed, as far as the cache takes them.
func (s *Store) payOwed(ctx context.Context) {
	for put, ok := s.owed.next(); ok; put, ok = s.owed.next() {
		if err := s.cache.PutBlob(ctx, put.dgst, put.key); err != nil {
			s.owed.add(put)

			return
		}

		s.cachePuts.Add(1)
	}
}
