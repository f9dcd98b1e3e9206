package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"zotregistry.io/zot/pkg/storage"
)

func (l *repoLog) indexPath() string { return l.repo + "/index.json" }

// OpenIndex opens index.json.
func (l *repoLog) OpenIndex(context.Context) (io.ReadCloser, error) {
	file, err := os.Open(l.indexPath())
	if err != nil {
		return nil, keyError("open", l.indexPath(), err)
	}

	return file, nil
}

// Refresh looks at index.json with one stat. A second one, under the lock, decides
// if that is news: what the first saw may be older than what we wrote since.
func (l *repoLog) Refresh(context.Context, uint64) (storage.Changes, error) {
	now, err := identify(l.indexPath())
	if err == nil && !l.knows(now) {
		return l.news()
	}

	if err != nil {
		return storage.Changes{}, fmt.Errorf("refresh log %s: %w", l.repo, err)
	}

	return storage.Changes{}, nil
}

func (l *repoLog) knows(now identity) bool {
	l.indexMu.Lock()
	defer l.indexMu.Unlock()

	return l.isKnown(now)
}

// isKnown says whether now is what we saw, or are just putting there. l.indexMu is
// held.
func (l *repoLog) isKnown(now identity) bool {
	return now == l.seen || l.coming != nil && now == *l.coming
}

func (l *repoLog) news() (storage.Changes, error) {
	l.indexMu.Lock()
	defer l.indexMu.Unlock()

	now, err := identify(l.indexPath())
	if err != nil {
		return storage.Changes{}, fmt.Errorf("refresh log %s: %w", l.repo, err)
	}

	if l.isKnown(now) {
		return storage.Changes{}, nil
	}

	l.seen = now

	return storage.Changes{Index: true}, nil
}

// look remembers index.json as it is.
func (l *repoLog) look() error {
	_, err := l.news()

	return err
}

// foreign is an error if there is an index.json that we neither wrote nor saw.
func (l *repoLog) foreign() error {
	l.indexMu.Lock()
	defer l.indexMu.Unlock()

	now, err := identify(l.indexPath())
	if err != nil {
		return err
	}

	if now.exists && !l.isKnown(now) {
		return fmt.Errorf("%w: another program wrote index.json", storage.ErrConflict)
	}

	return nil
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

	switch err := unix.Stat(path, &stat); {
	case gone(err):
		return identity{}, nil
	case err != nil:
		return identity{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}

	return identity{
		exists: true,
		device: uint64(stat.Dev), //nolint:unconvert // signed on some platforms; only compared
		inode:  stat.Ino,
		size:   stat.Size,
		sec:    int64(stat.Mtim.Sec),  //nolint:unconvert // as above
		nsec:   int64(stat.Mtim.Nsec), //nolint:unconvert // as above
	}, nil
}
