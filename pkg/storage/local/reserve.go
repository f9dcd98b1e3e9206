package local

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"zotregistry.io/zot/pkg/storage"
)

// The reserve is room that is given up, piece by piece, to write down what makes room: on a
// disk without a free byte nothing could be deleted otherwise. The bytes are random, so that no
// file system makes them smaller.
const (
	reserveSize  = 256 << 10
	reservePiece = 32 << 10
)

func (r *Root) reservePath() string { return filepath.Join(r.path, privateDir, "reserve") }

// keepReserve makes the reserve, unless it is whole, or there is no room for it.
func (r *Root) keepReserve() error {
	stat, err := os.Lstat(r.reservePath())
	if err == nil && stat.Mode().IsRegular() && stat.Size() == reserveSize {
		return nil
	}

	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keep a reserve: %w", err)
	}

	content := make([]byte, reserveSize)
	_, _ = rand.Read(content) // never fails, by its documentation

	temp, err := r.writeTemp(whole(content))
	if isFull(err) {
		return nil
	}

	if err == nil {
		err = r.place(temp, r.reservePath())
	}

	if err != nil {
		return fmt.Errorf("keep a reserve: %w", err)
	}

	return nil
}

// spendReserve gives up a piece of the reserve, and says whether there was one.
func (r *Root) spendReserve() (bool, error) {
	stat, err := os.Lstat(r.reservePath())
	if errors.Is(err, fs.ErrNotExist) || err == nil && (!stat.Mode().IsRegular() || stat.Size() == 0) {
		return false, nil
	}

	if err == nil {
		err = os.Truncate(r.reservePath(), max(0, stat.Size()-reservePiece))
	}

	if err != nil {
		return false, fmt.Errorf("give up a reserve: %w", err)
	}

	return true, nil
}

// isFull says whether there is no room on the disk, or no more that zot may use.
func isFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// makeRoom says whether records make room, once GC has seen them.
func makeRoom(records []storage.Record) bool {
	for _, record := range records {
		for _, op := range record.Ops {
			switch op.Kind {
			case storage.OpDeleteTag, storage.OpDeleteManifest, storage.OpDeleteRepo, storage.OpHideBlob, storage.OpForget:
				return true
			}
		}
	}

	return false
}
