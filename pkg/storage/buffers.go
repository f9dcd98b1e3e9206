package storage

import (
	"sync"

	"golang.org/x/sync/semaphore"
)

// DefaultBuffers is how many bytes of memory the uploads of a process share where
// nothing else is configured: 64 uploads at full speed, and any number of slow ones.
const DefaultBuffers = 64 << 20

// Every upload under way has a small buffer. One that proves fast gets large ones, as
// long as there are any. Nobody waits for a buffer: clients that stall, however many,
// would make all others wait.
const (
	smallBuffer = 32 << 10
	largeBuffer = 512 << 10
)

// Buffers is memory that uploads share.
type Buffers struct {
	budget *semaphore.Weighted // of large buffers
	small  sync.Pool
	large  sync.Pool
}

// NewBuffers returns a budget of size bytes for large buffers; what is less than one
// counts as one.
func NewBuffers(size int64) *Buffers {
	return &Buffers{budget: semaphore.NewWeighted(max(size, largeBuffer))}
}

// getSmall returns a small buffer.
func (b *Buffers) getSmall() []byte { return fromPool(&b.small, smallBuffer) }

// tryLarge returns a large buffer if there is room, else nil.
func (b *Buffers) tryLarge() []byte {
	if !b.budget.TryAcquire(largeBuffer) {
		return nil
	}

	return fromPool(&b.large, largeBuffer)
}

func fromPool(pool *sync.Pool, size int) []byte {
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
		b.budget.Release(largeBuffer)
	}
}
