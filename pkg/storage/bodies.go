package storage

import (
	"container/list"
	"sync"

	"github.com/opencontainers/go-digest"
)

// What bodies keeps: in all, and of one. Manifests and configs are smaller than that
// nearly always (a config with a long history is some 20 KB).
const (
	maxBodies = 32 << 20
	maxBody   = 64 << 10
)

// bodies keeps manifests in memory, and of a remote driver small blobs, too: those that were
// used last. A body has the digest that it is kept under, whoever may see it: that is
// for the state of a repository to say.
type bodies struct {
	limit int // bytes

	mu   sync.Mutex // guards all below
	size int
	used list.List // of body; front = used last
	at   map[digest.Digest]*list.Element
}

type body struct {
	digest digest.Digest
	bytes  []byte // never changed
}

func newBodies(limit int) *bodies {
	return &bodies{limit: limit, at: map[digest.Digest]*list.Element{}}
}

// get returns a body that must not be changed.
func (b *bodies) get(dgst digest.Digest) ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()

	found, ok := b.at[dgst]
	if !ok {
		return nil, false
	}

	b.used.MoveToFront(found)

	return found.Value.(body).bytes, true //nolint:forcetypeassert // nothing else is put
}

// put keeps a body whose digest was verified, and which is not changed any more; nil is
// nothing.
func (b *bodies) put(dgst digest.Digest, bytes []byte) {
	if bytes == nil || len(bytes) > maxBody {
		return
	}

	b.mu.Lock()
	defer b.mu.Unlock()

	if _, ok := b.at[dgst]; ok {
		return
	}

	b.at[dgst] = b.used.PushFront(body{dgst, bytes})

	for b.size += len(bytes); b.size > b.limit; {
		b.drop(b.used.Back())
	}
}

// forget drops a body: what is stored is not that any more.
func (b *bodies) forget(dgst digest.Digest) {
	b.mu.Lock()
	defer b.mu.Unlock()

	if found, ok := b.at[dgst]; ok {
		b.drop(found)
	}
}

// drop is called with mu held.
func (b *bodies) drop(element *list.Element) {
	dropped := b.used.Remove(element).(body) //nolint:forcetypeassert // as in get
	b.size -= len(dropped.bytes)
	delete(b.at, dropped.digest)
}
