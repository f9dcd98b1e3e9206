package s3

import (
	"context"
	"errors"
	"io"
	"sync"

	"golang.org/x/sync/semaphore"
)

// blockSize is what buffers are made of: a part that is not full takes no more memory
// than it has bytes.
const blockSize = 256 << 10

// Budget is memory that the parts of all uploads share. Room is reserved for a whole
// part before its first byte is read, first come, first served; so no upload waits for
// room while it holds a part that cannot be finished. Blocks are used again and again.
type Budget struct {
	size int64
	room *semaphore.Weighted

	mu   sync.Mutex // guards free
	free [][]byte
}

// NewBudget returns memory of size bytes, or what two parts of the least size need.
func NewBudget(size int64) *Budget { return newBudget(max(size, 2*minPart)) }

func newBudget(size int64) *Budget {
	return &Budget{size: size, room: semaphore.NewWeighted(size)}
}

// reserve waits for room for size bytes.
func (b *Budget) reserve(ctx context.Context, size int64) (*buffer, error) {
	size = b.whole(size)
	if err := b.room.Acquire(ctx, size); err != nil {
		return nil, err
	}

	return &buffer{budget: b, reserved: size}, nil
}

// tryReserve returns nil if there is no room now, or others wait for it.
func (b *Budget) tryReserve(size int64) *buffer {
	size = b.whole(size)
	if !b.room.TryAcquire(size) {
		return nil
	}

	return &buffer{budget: b, reserved: size}
}

// whole is size in whole blocks, and no more than there is.
func (b *Budget) whole(size int64) int64 {
	return min((size+blockSize-1)/blockSize*blockSize, b.size)
}

func (b *Budget) take() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()

	if n := len(b.free); n > 0 {
		block := b.free[n-1]
		b.free = b.free[:n-1]

		return block
	}

	return make([]byte, blockSize)
}

func (b *Budget) give(blocks [][]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()

	b.free = append(b.free, blocks...)
}

// buffer is bytes in reserved memory. It is an io.ReadSeeker, so that what was read of it
// can be sent again. It is used by one goroutine at a time.
type buffer struct {
	budget   *Budget
	reserved int64
	blocks   [][]byte
	size     int64
	pos      int64
}

// add appends as much of p as is reserved, and says how much that was.
func (b *buffer) add(p []byte) int {
	added := 0

	for added < len(p) && b.size < b.reserved {
		offset := b.size % blockSize
		if offset == 0 {
			b.blocks = append(b.blocks, b.budget.take())
		}

		n := copy(b.blocks[len(b.blocks)-1][offset:], p[added:])
		added += n
		b.size += int64(n)
	}

	return added
}

// Read reads on.
func (b *buffer) Read(p []byte) (int, error) {
	if b.pos >= b.size {
		return 0, io.EOF
	}

	block := b.blocks[b.pos/blockSize]
	end := min(blockSize, b.size-b.pos/blockSize*blockSize)
	n := copy(p, block[b.pos%blockSize:end])
	b.pos += int64(n)

	return n, nil
}

// Seek implements io.Seeker.
func (b *buffer) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += b.pos
	case io.SeekEnd:
		offset += b.size
	}

	if offset < 0 {
		return 0, errors.New("seek before the start")
	}

	b.pos = offset

	return offset, nil
}

// free gives all back; the buffer is empty, and takes nothing any more. nil is nothing.
func (b *buffer) free() {
	if b == nil || b.reserved == 0 && b.blocks == nil {
		return
	}

	b.budget.give(b.blocks)
	b.budget.room.Release(b.reserved)
	*b = buffer{budget: b.budget}
}
