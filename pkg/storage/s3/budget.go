package s3

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sync/semaphore"
)

// blockSize is what buffers are made of: a part that is not full takes no more memory
// than it has bytes.
const blockSize = 256 << 10

// Budget is memory that the parts of all uploads share, and a directory for what does not
// fit. So nobody waits for memory: clients that stall, however many, would make all others
// wait. A file costs little more, as long as the kernel has memory for it.
type Budget struct {
	size  int64
	spill string // made when it is needed
	room  *semaphore.Weighted

	mu   sync.Mutex // guards free
	free [][]byte
}

// NewBudget returns memory of size bytes; spill is a directory.
func NewBudget(size int64, spill string) *Budget {
	return &Budget{size: size, spill: spill, room: semaphore.NewWeighted(max(size, blockSize))}
}

// take returns a block, nil if there is no memory left.
func (b *Budget) take() []byte {
	if !b.room.TryAcquire(blockSize) {
		return nil
	}

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
	b.free = append(b.free, blocks...)
	b.mu.Unlock()

	b.room.Release(int64(len(blocks)) * blockSize)
}

// file makes a file that nobody else sees.
func (b *Budget) file() (*os.File, error) {
	if err := os.MkdirAll(b.spill, 0o700); err != nil {
		return nil, err
	}

	file, err := os.CreateTemp(b.spill, "part-")
	if err != nil {
		return nil, err
	}

	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(err, file.Close())
	}

	return file, nil
}

// maxSmall is how many bytes a buffer has without asking for any of the budget: those of
// most uploads, and then it ends.
const maxSmall = 64 << 10

// buffer is the bytes of a part: a few, or in shared memory, or in a file once there was
// none left. One goroutine at a time uses it.
type buffer struct {
	budget *Budget
	size   int64
	small  []byte
	blocks [][]byte
	file   *os.File
}

func (b *Budget) buffer() *buffer { return &buffer{budget: b} }

// Write appends p.
func (b *buffer) Write(p []byte) (int, error) {
	if b.blocks == nil && b.file == nil {
		if b.size+int64(len(p)) <= maxSmall {
			b.small = append(b.small, p...)
			b.size += int64(len(p))

			return len(p), nil
		}

		few := b.small
		b.small, b.size = nil, 0

		if _, err := b.write(few); err != nil {
			return 0, err
		}
	}

	return b.write(p)
}

// write appends p to what is not small.
func (b *buffer) write(p []byte) (int, error) {
	added := 0

	for added < len(p) && b.file == nil {
		offset := int(b.size % blockSize)
		if offset == 0 && !b.grow() {
			if err := b.spill(); err != nil {
				return added, err
			}

			break
		}

		n := copy(b.blocks[len(b.blocks)-1][offset:], p[added:])
		added += n
		b.size += int64(n)
	}

	if added == len(p) {
		return added, nil
	}

	n, err := b.file.WriteAt(p[added:], b.size)
	b.size += int64(n)

	return added + n, err
}

func (b *buffer) grow() bool {
	block := b.budget.take()
	if block == nil {
		return false
	}

	b.blocks = append(b.blocks, block)

	return true
}

// spill moves the bytes to a file.
func (b *buffer) spill() error {
	file, err := b.budget.file()
	if err != nil {
		return fmt.Errorf("storage.buffers are used up, and there is no file in their place: %w", err)
	}

	if _, err := io.Copy(file, b.reader()); err != nil {
		return errors.Join(err, file.Close())
	}

	b.budget.give(b.blocks)
	b.blocks, b.file = nil, file

	return nil
}

// reader reads the bytes, again and again if need be.
func (b *buffer) reader() io.ReadSeeker {
	switch {
	case b.file != nil:
		return io.NewSectionReader(b.file, 0, b.size)
	case b.blocks != nil:
		return io.NewSectionReader(blocks(b.blocks), 0, b.size)
	}

	return bytes.NewReader(b.small)
}

// blocks are read as what they have together.
type blocks [][]byte

// ReadAt implements io.ReaderAt for offsets that are there.
func (b blocks) ReadAt(p []byte, offset int64) (int, error) {
	n := 0

	for n < len(p) && offset/blockSize < int64(len(b)) {
		copied := copy(p[n:], b[offset/blockSize][offset%blockSize:])
		n += copied
		offset += int64(copied)
	}

	if n < len(p) {
		return n, io.EOF
	}

	return n, nil
}

// free gives all back; the buffer is empty then. nil is nothing.
func (b *buffer) free() {
	if b == nil {
		return
	}

	b.budget.give(b.blocks)

	if b.file != nil {
		b.file.Close() // it has no name, and nobody wants it any more
	}

	*b = buffer{budget: b.budget}
}
