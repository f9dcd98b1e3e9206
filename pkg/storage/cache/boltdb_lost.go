package cache

import (
	"errors"
	"fmt"
	"slices"
	"time"

	bberrors "go.etcd.io/bbolt/errors"
)

// openFirst opens the file as it was left, or moves it aside and makes another.
func (b *BoltDB) openFirst() (*boltFile, error) {
	file, err := openKept(b.path, b.opts.Namespace, b.opts.timing.lock)

	switch {
	case err == nil:
		return file, nil
	case errors.Is(err, bberrors.ErrTimeout):
		return nil, fmt.Errorf("open cache %s: another process has locked it: %w", b.path, err)
	}

	why := whyAside(err)
	if why == "" {
		return nil, fmt.Errorf("open cache %s: %w", b.path, err)
	}

	aside, failed := moveAside(b.path, why)
	if failed != nil {
		return nil, fmt.Errorf("open cache: %w", failed)
	}

	event := b.opts.Log.Warn()
	if why == asideUpstream {
		event = b.opts.Log.Info()
	}

	event.AnErr("reason", err).Str("file", b.path).Str("moved_to", aside).
		Msg("the cache's file cannot be used; beginning with an empty one")

	if file, err = openFresh(b.path, b.opts.Namespace, b.opts.timing.lock); err != nil {
		return nil, fmt.Errorf("make cache %s: %w", b.path, err)
	}

	return file, nil
}

// whyAside says what becomes of a file that could not be opened: "" = it is not
// touched.
func whyAside(err error) string {
	switch {
	case errors.Is(err, errUpstream):
		return asideUpstream
	case errors.Is(err, errOther):
		return asideOther
	case errors.Is(err, errDamaged):
		return asideDamaged
	}

	return ""
}

// adopt takes a file into use.
func (b *BoltDB) adopt(file *boltFile) {
	file.start(b.opts.timing.read, func(cause error) { b.forget(file, cause) })

	b.mu.Lock()
	defer b.mu.Unlock()

	b.file = file
	b.files = append(slices.DeleteFunc(b.files, (*boltFile).isReleased), file)
}

// forget is called by whoever finds that the file is lost. All that the cache knew
// goes with it, what waits too.
func (b *BoltDB) forget(file *boltFile, cause error) {
	b.mu.Lock()

	if b.file == file {
		b.file = nil
	}

	b.room.Release(int64(b.ops[0].bytes + b.ops[1].bytes))
	b.ops = layers{newBatch(), newBatch()}
	b.mu.Unlock()

	b.opts.Log.Warn().Err(cause).Str("file", b.path).
		Msg("the cache's file was changed by another program, or is gone; beginning with an empty one")

	poke(b.wake)
	poke(b.hurry)
}

// refresh makes a fresh file if there is none. It is called by the writer only.
func (b *BoltDB) refresh() error {
	b.mu.Lock()
	file := b.file
	b.mu.Unlock()

	if file != nil {
		return nil
	}

	now := time.Now()
	if now.Sub(b.writer.fresh) < b.opts.timing.fresh {
		return errTooSoon
	}

	aside, err := moveAside(b.path, asideDamaged)
	if err != nil {
		return err
	}

	if file, err = openFresh(b.path, b.opts.Namespace, b.opts.timing.lock); err != nil {
		return err
	}

	b.writer.fresh = now
	b.adopt(file)
	b.opts.Log.Info().Str("file", b.path).Str("moved_to", aside).Msg("a fresh file for the cache is made")

	return nil
}

// closeFile closes the file and waits until all that were used are released, or
// Close has waited for long enough.
func (b *BoltDB) closeFile() error {
	b.mu.Lock()
	file, files := b.file, b.files
	b.mu.Unlock()

	if file != nil {
		file.close()
	}

	for _, file := range files {
		if file.poisoned.Load() {
			continue // given up; it may never be released
		}

		select {
		case <-file.released:
		case <-b.tooLate:
			return fmt.Errorf("close cache %s: %w", b.path, errSlow)
		}
	}

	return nil
}

func (f *boltFile) isReleased() bool {
	select {
	case <-f.released:
		return true
	default:
		return false
	}
}
