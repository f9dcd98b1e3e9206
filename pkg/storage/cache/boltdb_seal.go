package cache

import (
	"fmt"
	"os"
	"sync/atomic"
)

// seal is what the file looked like after our last write to it. Nobody else writes,
// so if it looks otherwise, it is not ours any more.
type seal struct {
	gen      atomic.Uint64 // odd while we write
	size     atomic.Int64
	modified atomic.Int64 // nanoseconds
}

// reseal takes down what the file looks like. It is called between two increments of
// seal.gen, or before start.
func (f *boltFile) reseal() error {
	info, err := f.stat()
	if err != nil {
		return err
	}

	f.seal.size.Store(info.Size())
	f.seal.modified.Store(info.ModTime().UnixNano())

	return nil
}

func (f *boltFile) stat() (os.FileInfo, error) {
	info, err := os.Stat(f.path)
	if err != nil {
		return nil, fmt.Errorf("look at the cache's file: %w", err)
	}

	if !os.SameFile(info, f.id) {
		return nil, fmt.Errorf("%w: another file is in its place", errDamaged)
	}

	return info, nil
}

// unchanged says whether the file is still the one that we wrote. It costs one
// stat(2), and is no guarantee: the file may be truncated right after it.
func (f *boltFile) unchanged() error {
	gen := f.seal.gen.Load()
	size, modified := f.seal.size.Load(), f.seal.modified.Load()

	info, err := f.stat()
	if err != nil {
		return err
	}

	if info.Size() < size {
		return fmt.Errorf("%w: it was cut from %d to %d bytes", errDamaged, size, info.Size())
	}

	if gen%2 == 1 || f.seal.gen.Load() != gen {
		return nil // we are writing ourselves: it may only have grown
	}

	if info.Size() != size || info.ModTime().UnixNano() != modified {
		return fmt.Errorf("%w: another program wrote to it", errDamaged)
	}

	return nil
}
