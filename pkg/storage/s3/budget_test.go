package s3

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// A buffer has its bytes wherever they are: few, in memory, in a file.
func TestBuffer(t *testing.T) {
	content := make([]byte, 3*blockSize+100)
	source := rand.NewChaCha8([32]byte{1})
	source.Read(content) //nolint:errcheck // never fails

	for name, memory := range map[string]int64{"in memory": 1 << 30, "in a file": blockSize, "first in memory": 2 * blockSize} {
		t.Run(name, func(t *testing.T) {
			for _, step := range []int{1000, maxSmall, blockSize, len(content)} {
				budget := NewBudget(memory, filepath.Join(t.TempDir(), "made", "when needed"))
				buf := budget.buffer()

				for rest := content; len(rest) > 0; {
					n, err := buf.Write(rest[:min(step, len(rest))])
					if err != nil {
						t.Fatal(err)
					}

					rest = rest[n:]
				}

				for range 2 { // a request may be sent again
					got, err := io.ReadAll(buf.reader())
					if err != nil || !bytes.Equal(got, content) {
						t.Fatalf("step %d: %d bytes, %v", step, len(got), err)
					}
				}

				buf.free()

				if !budget.room.TryAcquire(max(memory, blockSize)) {
					t.Errorf("step %d: memory is not given back", step)
				}
			}
		})
	}
}

// Where there is neither memory nor a disk, an upload fails, and says why.
func TestBufferWithoutRoom(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}

	buf := NewBudget(0, filepath.Join(dir, "file", "below")).buffer()

	if _, err := buf.Write(make([]byte, 2*blockSize)); err == nil {
		t.Error("two blocks fit into one")
	}
}
