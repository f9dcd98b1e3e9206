package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"zotregistry.io/zot/pkg/storage"
)

func (l *repoLog) indexPath() string { return l.repo + "/index.json" }

// OpenIndex opens index.json.
func (l *repoLog) OpenIndex(context.Context) (storage.Index, error) {
	file, err := openRegular(l.indexPath(), os.O_RDONLY)
	if err != nil {
		return storage.Index{}, keyError("open", l.indexPath(), err)
	}

	var stat unix.Stat_t

	err = unix.Fstat(int(file.Fd()), &stat)
	if err == nil && stat.Size > maxIndex {
		err = fmt.Errorf("%w: longer than %d bytes", storage.ErrDamaged, maxIndex)
	}

	if err != nil {
		return storage.Index{}, errors.Join(keyError("open", l.indexPath(), err), file.Close())
	}

	return storage.Index{ReadCloser: file, Version: identityOf(&stat)}, nil
}

// maxIndex is the size of the largest index.json that is read: some four million tags.
const maxIndex = 1 << 30

// TookIndex remembers which index.json is known.
func (l *repoLog) TookIndex(version any) {
	l.indexMu.Lock()
	defer l.indexMu.Unlock()

	l.seen, _ = version.(identity) // nil: there is none
}

// Refresh looks at index.json with one stat, unless it has done so since. A second one,
// under the lock, decides if that is news: what the first saw may be older than what we
// wrote since.
func (l *repoLog) Refresh(_ context.Context, _ uint64, since time.Time) (storage.Changes, error) {
	if asOf := l.asOf.Load(); asOf != 0 && asOf >= int64(since.Sub(l.root.opened)) {
		return storage.Changes{}, nil
	}

	asOf := int64(time.Since(l.root.opened))

	now, err := identify(l.indexPath())
	if err == nil && l.knows(now) {
		l.asOf.Store(asOf)

		return storage.Changes{}, nil
	}

	foreign, err := l.foreign()
	if err != nil {
		return storage.Changes{}, fmt.Errorf("refresh log %s: %w", l.repo, err)
	}

	return storage.Changes{Index: foreign}, nil
}

func (l *repoLog) knows(now identity) bool {
	l.indexMu.Lock()
	defer l.indexMu.Unlock()

	return l.isKnown(now)
}

// isKnown says whether now is what was taken in, or what we are just putting there.
// l.indexMu is held.
func (l *repoLog) isKnown(now identity) bool {
	return now == l.seen || l.coming != nil && now == *l.coming
}

// foreign says whether there is an index.json that is not known.
func (l *repoLog) foreign() (bool, error) {
	l.indexMu.Lock()
	defer l.indexMu.Unlock()

	now, err := identify(l.indexPath())

	return err == nil && !l.isKnown(now), err
}

// mayReplace says whether index.json holds nothing that is not known. One that is
// gone holds nothing.
func (l *repoLog) mayReplace() (bool, error) {
	foreign, err := l.foreign()
	if !foreign {
		return err == nil, err
	}

	now, err := identify(l.indexPath())

	return !now.exists, err
}

// placeIndex replaces index.json, without Refresh taking it for another program's.
func (l *repoLog) placeIndex(temp string) error {
	coming, err := identify(temp)
	if err != nil {
		return errors.Join(err, os.Remove(temp))
	}

	l.expect(&coming)
	err = l.root.place(temp, l.indexPath())

	l.indexMu.Lock()
	defer l.indexMu.Unlock()

	l.coming = nil
	if err == nil {
		l.seen = coming
	}

	return err
}

func (l *repoLog) expect(coming *identity) {
	l.indexMu.Lock()
	defer l.indexMu.Unlock()

	l.coming = coming
}

// identity tells one version of a file from another. The zero value is that of a
// file that is not there.
type identity struct {
	exists bool
	device uint64
	inode  uint64
	size   int64
	sec    int64 // of its mtime
	nsec   int64
}

// identify looks at a file with one call, and next to no garbage: it is called for
// each request.
func identify(path string) (identity, error) {
	var stat unix.Stat_t

	switch err := statFile(unix.AT_FDCWD, path, &stat); {
	case gone(err):
		return identity{}, nil
	case err != nil:
		return identity{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}

	return identityOf(&stat), nil
}

func identityOf(stat *unix.Stat_t) identity {
	return identity{
		exists: true,
		device: uint64(stat.Dev), //nolint:unconvert // signed on some platforms; only compared
		inode:  stat.Ino,
		size:   stat.Size,
		sec:    int64(stat.Mtim.Sec),  //nolint:unconvert // as above
		nsec:   int64(stat.Mtim.Nsec), //nolint:unconvert // as above
	}
}
