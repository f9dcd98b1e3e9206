package s3

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// blockSize is what buffers are made of: a part that is not full takes no more memory
// than it has bytes.
const blockSize = 256 << 10

// Budget is memory that the parts of all uploads share. Room is reserved for a whole
// part before its first byte is read, first come, first served; and whoever waits holds
// none, so that two uploads never wait for each other. Blocks are used again and again.
//
// What a client does not fill, because it stalls or is slow, is taken back while others
// wait.
type Budget struct {
	size int64
	room *semaphore.Weighted

	mu   sync.Mutex // guards what follows, and moved of buffers in held
	free [][]byte
	held map[*buffer]yielder
}

// yielder is somebody who can do without the memory of a buffer.
type yielder interface {
	yield(ctx context.Context, b *buffer) bool
}

// A part is taken back from a client that has sent nothing for idleTime, or has not filled
// it in slowTime. Among those who wait there may be 60 more that stall, and each gets its
// turn first.
const (
	idleTime  = 100 * time.Millisecond
	slowTime  = 5 * time.Second
	lookEvery = 20 * time.Millisecond
)

// NewBudget returns memory of size bytes, or what two parts of the least size need.
func NewBudget(size int64) *Budget { return newBudget(max(size, 2*minPart)) }

func newBudget(size int64) *Budget {
	return &Budget{size: size, room: semaphore.NewWeighted(size), held: map[*buffer]yielder{}}
}

// reserve waits for room for size bytes. by may have to give it back; nil = it need not.
func (b *Budget) reserve(ctx context.Context, size int64, by yielder) (*buffer, error) {
	if buf := b.tryReserve(size, by); buf != nil {
		return buf, nil
	}

	if err := b.wait(ctx, b.whole(size)); err != nil {
		return nil, err
	}

	return b.hold(size, by), nil
}

// tryReserve returns nil if there is no room now, or others wait for it.
func (b *Budget) tryReserve(size int64, by yielder) *buffer {
	if !b.room.TryAcquire(b.whole(size)) {
		return nil
	}

	return b.hold(size, by)
}

func (b *Budget) hold(size int64, by yielder) *buffer {
	now := time.Now()
	buf := &buffer{budget: b, reserved: b.whole(size), since: now, moved: now}

	if by != nil {
		b.mu.Lock()
		defer b.mu.Unlock()

		b.held[buf] = by
	}

	return buf
}

// wait waits for room, and asks those who make no use of theirs for it.
func (b *Budget) wait(ctx context.Context, size int64) error {
	var asking sync.WaitGroup

	got := make(chan struct{})

	asking.Go(func() { b.ask(ctx, got) })
	defer asking.Wait()
	defer close(got)

	return b.room.Acquire(ctx, size)
}

func (b *Budget) ask(ctx context.Context, got <-chan struct{}) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()

	for {
		select {
		case <-got:
			return
		case <-ticker.C:
		}

		for buf, by := range b.idle(time.Now()) {
			if by.yield(ctx, buf) {
				break
			}
		}
	}
}

// idle returns the buffers that are not filled as they should be.
func (b *Budget) idle(now time.Time) map[*buffer]yielder {
	b.mu.Lock()
	defer b.mu.Unlock()

	idle := map[*buffer]yielder{}

	for buf, by := range b.held {
		if now.Sub(buf.moved) >= idleTime || now.Sub(buf.since) >= slowTime {
			idle[buf] = by
		}
	}

	return idle
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

func (b *Budget) give(from *buffer) {
	b.mu.Lock()
	defer b.mu.Unlock()

	b.free = append(b.free, from.blocks...)
	delete(b.held, from)
}

// buffer is bytes in reserved memory. It is an io.ReadSeeker, so that what was read of it
// can be sent again. It is used by one goroutine at a time.
type buffer struct {
	budget   *Budget
	reserved int64
	blocks   [][]byte
	size     int64
	pos      int64
	kept     bool // it is read: it must stay

	since time.Time // when it was reserved
	moved time.Time // when a byte was last added
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

	b.budget.mu.Lock()
	defer b.budget.mu.Unlock()

	b.moved = time.Now()

	return added
}

// Write adds p, all of it.
func (b *buffer) Write(p []byte) (int, error) {
	if n := b.add(p); n < len(p) {
		return n, io.ErrShortWrite
	}

	return len(p), nil
}

// keep sees to it that a buffer stays until it is freed. nil is nothing.
func (b *buffer) keep() {
	if b == nil {
		return
	}

	b.kept = true

	b.budget.mu.Lock()
	defer b.budget.mu.Unlock()

	delete(b.budget.held, b)
}

// moveTo moves the bytes to a buffer that has room for them.
func (b *buffer) moveTo(to *buffer) {
	for left, i := b.size, 0; left > 0; i++ {
		n := min(left, blockSize)
		to.add(b.blocks[i][:n])
		left -= n
	}

	b.free()
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
	if b == nil || b.reserved == 0 {
		return
	}

	b.budget.give(b)
	b.budget.room.Release(b.reserved)

	b.reserved, b.size, b.pos, b.blocks = 0, 0, 0, nil
}
