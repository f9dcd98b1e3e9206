package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"zotregistry.io/zot/pkg/storage"
)

// Remove makes that nothing is at key, with a rename. The bytes go when finish is called,
// or with the next start.
func (r *Root) Remove(_ context.Context, key string) (finish func() error, err error) {
	path, err := r.file(key)
	if err != nil {
		return nil, err
	}

	temp := r.tempName()
	finish = func() error { return removeFile(temp) }

	if err := os.Rename(path, temp); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return finish, nil
		}

		return nil, keyError("remove", key, err)
	}

	r.flush.wrote(filepath.Dir(path))

	return finish, nil
}

// Remove removes the log of a repository in which nothing is left: first what projects
// it, then, with one rename, the log itself, then directories as far as they are empty. Those
// that others have filled meanwhile stay.
func (l *repoLog) Remove(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()

	if err := errors.Join(l.closeFile(), l.checkIndex()); err != nil {
		return err
	}

	temp := l.root.tempName()

	err := removeFile(l.indexPath())
	if err == nil {
		err = os.Rename(l.dir, temp)
	}

	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove log %s: %w", l.repo, err)
	}

	if err := errors.Join(os.RemoveAll(temp), removeFile(l.repo+"/oci-layout")); err != nil {
		return fmt.Errorf("remove log %s: %w", l.repo, err)
	}

	return l.removeDirs()
}

// removeDirs removes the directories of the repository that are empty, and those above
// that only held it.
func (l *repoLog) removeDirs() error {
	if err := l.root.checkDirs(strings.TrimPrefix(l.repo, l.root.path+"/") + "/blobs/"); err != nil {
		return err
	}

	algorithms, err := os.ReadDir(l.repo + "/blobs")
	if err != nil && !gone(err) {
		return err
	}

	var dirs []string
	for _, algorithm := range algorithms {
		dirs = append(dirs, l.repo+"/blobs/"+algorithm.Name())
	}

	pulls := l.repo + strings.TrimSuffix(storage.PullsKey("", ""), "/")

	for _, dir := range append(dirs, l.repo+"/blobs", l.repo+"/"+uploadsDir, pulls) {
		if err := removeDir(dir); err != nil {
			return err
		}
	}

	for dir := l.repo; dir != l.root.path && unix.Rmdir(dir) == nil; {
		dir = filepath.Dir(dir) // until others are in it
	}

	l.root.flush.wrote(l.root.path)

	return nil
}

// removeDir removes a directory if it is empty.
func removeDir(dir string) error {
	err := unix.Rmdir(dir)
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}

	if err != nil {
		return &fs.PathError{Op: "rmdir", Path: dir, Err: err}
	}

	return nil
}
