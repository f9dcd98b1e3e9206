package storage

import (
	"hash/maphash"
	"sync"

	"github.com/opencontainers/go-digest"
)

// keyLocks keeps two uploads of one digest from being placed at the same moment, so
// that the second finds the first. Digests share locks; none is held while a body is
// read or a flush is waited for.
type keyLocks struct {
	seed  maphash.Seed
	locks [256]sync.Mutex
}

func newKeyLocks() *keyLocks { return &keyLocks{seed: maphash.MakeSeed()} }

func (k *keyLocks) lock(dgst digest.Digest) (unlock func()) {
	mu := &k.locks[maphash.String(k.seed, string(dgst))%uint64(len(k.locks))]
	mu.Lock()

	return mu.Unlock
}
