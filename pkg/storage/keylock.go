package storage

import (
	"sync"

	"github.com/opencontainers/go-digest"
)

// keyLocks keeps two uploads of one digest from being placed at the same moment, so
// that the second finds the first. Other digests never wait: placing may be a copy in
// a bucket that takes minutes.
type keyLocks struct {
	mu    sync.Mutex // guards locks
	locks map[digest.Digest]*keyLock
}

type keyLock struct {
	sync.Mutex

	users int // who hold it or wait for it; guarded by keyLocks.mu
}

func newKeyLocks() *keyLocks { return &keyLocks{locks: map[digest.Digest]*keyLock{}} }

func (k *keyLocks) lock(dgst digest.Digest) (unlock func()) {
	k.mu.Lock()

	held := k.locks[dgst]
	if held == nil {
		held = new(keyLock)
		k.locks[dgst] = held
	}

	held.users++
	k.mu.Unlock()
	held.Lock()

	return func() {
		held.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()

		if held.users--; held.users == 0 {
			delete(k.locks, dgst)
		}
	}
}
