package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"zotregistry.io/zot/pkg/storage"
)

// Stat looks at the file of a key. Directories are no objects.
func (r *Root) Stat(_ context.Context, key string) (storage.Info, error) {
	if err := checkKey(key); err != nil {
		return storage.Info{}, err
	}

	if err := r.checkDirs(key); err != nil {
		return storage.Info{}, keyError("stat", key, err)
	}

	var stat unix.Stat_t // of os.Stat half the time would go to what nobody asks for here

	if err := statFile(r.dir, key, &stat); err != nil {
		return storage.Info{}, keyError("stat", key, err)
	}

	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return storage.Info{}, keyError("stat", key, fs.ErrNotExist)
	}

	return storage.Info{Key: key, Size: stat.Size, Modified: time.Unix(stat.Mtim.Unix())}, nil
}

// keyError wraps an error of a key. A key below a file, too long to be a file's name, or that of a
// link, is not there either.
func keyError(op, key string, err error) error {
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ENAMETOOLONG) || errors.Is(err, unix.ELOOP) {
		err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}

	return fmt.Errorf("%s %s: %w", op, key, err)
}

// Open opens the file of a key. Body is the *os.File itself, or an io.LimitedReader
// over it.
func (r *Root) Open(_ context.Context, key string, rng storage.Range) (*storage.Object, error) {
	path, err := r.file(key)
	if err != nil {
		return nil, err
	}

	file, err := openFile(path, unix.O_RDONLY, 0)
	if err != nil {
		return nil, keyError("open", key, err)
	}

	object, err := rangeOf(file, rng)
	if err != nil {
		return nil, errors.Join(keyError("open", key, err), file.Close())
	}

	return object, nil
}

func rangeOf(file *os.File, rng storage.Range) (*storage.Object, error) {
	stat, err := file.Stat()
	if err != nil {
		return nil, err
	}

	size := stat.Size()

	switch {
	case !stat.Mode().IsRegular():
		return nil, fs.ErrNotExist
	case rng.Offset < 0, rng.Offset > 0 && rng.Offset >= size:
		return nil, fmt.Errorf("%w: offset %d of %d", storage.ErrRange, rng.Offset, size)
	}

	if rng.Offset > 0 {
		if _, err := file.Seek(rng.Offset, io.SeekStart); err != nil {
			return nil, err
		}
	}

	object := &storage.Object{Body: file, Size: size, Closer: file}
	if rng.Length >= 0 && rng.Length < size-rng.Offset {
		object.Body = &io.LimitedReader{R: file, N: rng.Length}
	}

	return object, nil
}

// Put writes the file of a key.
func (r *Root) Put(_ context.Context, key string, body []byte) (string, error) {
	path, err := r.file(key)
	if err != nil {
		return "", err
	}

	temp, err := r.writeTemp(whole(body))
	if err != nil {
		return "", keyError("put", key, err)
	}

	if err := r.place(temp, path); err != nil {
		return "", keyError("put", key, err)
	}

	return key, nil
}

// Link makes a hard link, in place of what is at dst.
func (r *Root) Link(_ context.Context, src, dst string) (string, error) {
	from, err := r.file(src)
	if err != nil {
		return "", err
	}

	to, err := r.file(dst)
	if err != nil {
		return "", err
	}

	var stat unix.Stat_t

	if err = statFile(unix.AT_FDCWD, from, &stat); err == nil && stat.Mode&unix.S_IFMT != unix.S_IFREG {
		err = fs.ErrNotExist
	}

	if err != nil {
		return "", keyError("link", src+" to "+dst, err)
	}

	err = hardLink(from, to)

	switch {
	case errors.Is(err, fs.ErrExist):
		err = r.relink(from, to)
	case errors.Is(err, fs.ErrNotExist):
		err = r.linkAnew(from, to)
	}

	if err != nil {
		return "", keyError("link", src+" to "+dst, unsupported(err))
	}

	r.flush.wrote(to, filepath.Dir(to))

	return dst, nil
}

// hardLink is link(2).
func hardLink(from, to string) error {
	err := unix.Linkat(unix.AT_FDCWD, from, unix.AT_FDCWD, to, 0)
	if err != nil {
		return &os.LinkError{Op: "link", Old: from, New: to, Err: err}
	}

	return nil
}

// linkAnew links where something was missing: from itself, or the directory of to.
func (r *Root) linkAnew(from, to string) error {
	if _, err := os.Lstat(from); err != nil {
		return err
	}

	return r.withDir(to, func() error { return hardLink(from, to) })
}

// relink replaces what is at to. rename(2) does nothing where both names are of one
// file, and leaves both.
func (r *Root) relink(from, to string) error {
	if same, err := sameFile(from, to); same || err != nil {
		return err
	}

	temp := r.tempName()
	if err := hardLink(from, temp); err != nil {
		return err
	}

	err := os.Rename(temp, to)
	if gone := os.Remove(temp); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		return errors.Join(err, gone)
	}

	return err
}

func sameFile(a, b string) (bool, error) {
	statA, err := os.Lstat(a)
	if err != nil {
		return false, err
	}

	statB, err := os.Lstat(b)
	if err != nil {
		return false, err
	}

	return os.SameFile(statA, statB), nil
}

// unsupported marks the errors that mean that two names cannot share bytes: too
// many links (ext4 stops at 65,000), two file systems, one that has no links, or
// fs.protected_hardlinks and a file of another owner.
func unsupported(err error) error {
	for _, errno := range []unix.Errno{unix.EMLINK, unix.EXDEV, unix.EPERM, unix.ENOTSUP} {
		if errors.Is(err, errno) {
			return fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
		}
	}

	return err
}

// Delete removes the file of a key, and for an upload its note.
func (r *Root) Delete(_ context.Context, key string) error {
	path, err := r.file(key)
	if err != nil {
		return err
	}

	if isUpload(path) {
		if err := removeFile(noteFile(path)); err != nil {
			return keyError("delete note of", key, err)
		}
	}

	if err := removeFile(path); err != nil {
		return keyError("delete", key, err)
	}

	r.flush.wrote(filepath.Dir(path))

	return nil
}

// removeFile removes a file, if there is one. os.Remove would remove an empty
// directory, too, which is no object.
func removeFile(path string) error {
	err := unix.Unlink(path)

	switch {
	case err == nil, errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR),
		errors.Is(err, unix.ENAMETOOLONG), errors.Is(err, unix.EISDIR):
		return nil
	}

	if stat, lerr := os.Lstat(path); lerr == nil && stat.IsDir() { // EPERM on darwin
		return nil
	}

	return &fs.PathError{Op: "unlink", Path: path, Err: err}
}
