package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// scarce is the part of space or inodes below which the log warns, in percent.
const scarce = 5

// probe tries what the directory can do, and warns of what zot does without.
// newFlusher has tried to flush.
func (r *Root) probe() error {
	err := r.probeLinks()

	for spent := true; isFull(err) && spent; {
		var failed error
		if spent, failed = r.spendReserve(); failed != nil {
			return failed
		}

		err = r.probeLinks()
	}

	if isFull(err) { // what is there can be served
		r.log.Warn().Err(err).Msg("the disk is full: it was not tried whether there are hard links")
	} else if err != nil {
		return fmt.Errorf("probe: %w", err)
	}

	return r.probeSpace()
}

// probeLinks tries a hard link between two directories.
func (r *Root) probeLinks() error {
	src, err := r.writeTemp(whole([]byte("probe")))
	if err != nil {
		return err
	}

	dir := r.tempName()
	dst := filepath.Join(dir, "link")

	err = errors.Join(os.Mkdir(dir, dirMode), unsupported(os.Link(src, dst)))
	if errors.Is(err, errors.ErrUnsupported) {
		r.log.Warn().Err(err).
			Msg("no hard links here: equal blobs are stored once in each repository")

		err = nil
	}

	return errors.Join(err, os.Remove(src), os.RemoveAll(dir))
}

// probeSpace reports free space, and warns if there is little.
func (r *Root) probeSpace() error {
	var stat unix.Statfs_t
	if err := unix.Statfs(r.path, &stat); err != nil {
		return fmt.Errorf("probe %s: %w", r.path, os.NewSyscallError("statfs", err))
	}

	free, size := uint64(stat.Bavail), uint64(stat.Blocks) //nolint:unconvert // differs between platforms
	event := r.log.Info()

	if little(free, size) || little(stat.Ffree, stat.Files) {
		event = r.log.Warn().Bool("scarce", true)
	}

	event.
		Uint64("freeBytes", free*uint64(stat.Bsize)). //nolint:gosec // a size is not negative
		Uint64("freeInodes", stat.Ffree).
		Msg("root opened")

	return nil
}

// little says whether free of all is scarce; btrfs says 0 of 0 inodes.
func little(free, all uint64) bool { return all > 0 && free < all/100*scarce }
