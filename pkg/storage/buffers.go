package storage

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// DefaultBuffers is how many bytes of memory the uploads of a process share where
// nothing else is configured: 128 uploads at full speed, and any number that wait.
const DefaultBuffers = 64 << 20

// An upload begins with a small buffer, so that many slow clients do not take the
// memory of a few fast ones, and gets large ones once a read fills the small one.
const (
	smallBuffer = 32 << 10
	largeBuffer = 512 << 10
)

// Buffers is memory that uploads share. An upload that waits for a buffer reads
// nothing meanwhile, so the client is held back by TCP.
type Buffers struct {
	budget *semaphore.Weighted
	small  sync.Pool
	large  sync.Pool
}

// NewBuffers returns a budget of size bytes; what is less than one buffer counts as
// one.
func NewBuffers(size int64) *Buffers {
	return &Buffers{budget: semaphore.NewWeighted(max(size, largeBuffer))}
}

// getSmall waits for a small buffer.
func (b *Buffers) getSmall(ctx context.Context) ([]byte, error) {
	return b.get(ctx, &b.small, smallBuffer)
}

// getLarge waits for a large buffer. The caller holds none while it waits.
func (b *Buffers) getLarge(ctx context.Context) ([]byte, error) {
	return b.get(ctx, &b.large, largeBuffer)
}

func (b *Buffers) get(ctx context.Context, pool *sync.Pool, size int64) ([]byte, error) {
	if err := b.budget.Acquire(ctx, size); err != nil {
		return nil, err
	}

	return fromPool(pool, size), nil
}

// tryLarge returns another large buffer if there is room, else nil.
func (b *Buffers) tryLarge() []byte {
	if !b.budget.TryAcquire(largeBuffer) {
		return nil
	}

	return fromPool(&b.large, largeBuffer)
}

func fromPool(pool *sync.Pool, size int64) []byte {
	if buf, ok := pool.Get().(*[]byte); ok {
		return *buf
	}

	return make([]byte, size)
}

// put gives a buffer back; nil is nothing.
func (b *Buffers) put(buf []byte) {
	switch len(buf) {
	case smallBuffer:
		b.small.Put(&buf)
	case largeBuffer:
		b.large.Put(&buf)
	}

	b.budget.Release(int64(len(buf)))
}
