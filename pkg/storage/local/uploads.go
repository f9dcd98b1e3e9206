package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"zotregistry.io/zot/pkg/storage"
)

const uploadsDir = ".uploads"

// writebackStep is how many bytes of an upload are kept from the disk at most
// before the kernel is told to begin with them: the flush of a large image would
// otherwise wait for all of it.
const writebackStep = 8 << 20

func isUpload(path string) bool { return filepath.Base(filepath.Dir(path)) == uploadsDir }

// NameUpload returns a random id.
func (r *Root) NameUpload(storage.RepoName) string { return uuid.NewString() }

// CreateUpload makes an empty file.
//
// Errors: fs.ErrExist.
func (r *Root) CreateUpload(_ context.Context, key string) (storage.Upload, error) {
	path, err := r.file(key)
	if err != nil {
		return nil, err
	}

	var file *os.File

	err = r.withDir(path, func() (err error) {
		file, err = openFile(path, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR|unix.O_APPEND, fileMode)

		return err
	})
	if err != nil {
		return nil, keyError("create upload", key, err)
	}

	r.flush.wrote(path, filepath.Dir(path))

	return &upload{root: r, key: key, path: path, file: file}, nil
}

// ResumeUpload opens a file that CreateUpload made, and its note.
func (r *Root) ResumeUpload(_ context.Context, key string) (storage.Upload, []byte, error) {
	path, err := r.file(key)
	if err != nil {
		return nil, nil, err
	}

	file, err := openRegular(path, os.O_RDWR|os.O_APPEND)
	if err != nil {
		return nil, nil, keyError("resume upload", key, err)
	}

	stat, err := file.Stat()
	if err != nil {
		return nil, nil, errors.Join(keyError("resume upload", key, err), file.Close())
	}

	size := stat.Size()

	note, err := r.readNote(path, size)
	if err != nil {
		return nil, nil, errors.Join(keyError("resume upload", key, err), file.Close())
	}

	return &upload{root: r, key: key, path: path, file: file, size: size, begun: size, noted: true}, note, nil
}

// upload is a file that grows.
type upload struct {
	root  *Root
	key   string
	path  string
	file  *os.File // nil when the upload is over or closed
	size  int64
	begun int64 // up to where the kernel was told to write
	noted bool  // there may be a note
}

func (u *upload) check() error {
	if u.file == nil {
		return fmt.Errorf("upload %s: %w", u.key, fs.ErrClosed)
	}

	return nil
}

// Expect has no use for what it is told: one file is as good as another.
func (u *upload) Expect(string, int64) {}

func (u *upload) Append(ctx context.Context, p []byte) error {
	if err := errors.Join(u.check(), ctx.Err()); err != nil {
		return err
	}

	n, err := u.file.Write(p)
	u.size += int64(n)

	if isFull(err) {
		err = errors.Join(fmt.Errorf("%w: %w", storage.ErrUploadLost, err), u.empty())
	}

	if err != nil {
		return fmt.Errorf("append to upload %s: %w", u.key, err)
	}

	u.root.flush.wrote(u.path)

	for u.root.commit && u.size-u.begun >= writebackStep {
		startWriteback(u.file, u.begun, writebackStep)
		u.begun += writebackStep
	}

	return nil
}

// empty drops the bytes. On a full disk those of uploads that failed would take whatever room is
// made, until they are collected.
func (u *upload) empty() error {
	u.size, u.begun = 0, 0

	return errors.Join(removeFile(noteFile(u.path)), u.file.Truncate(0))
}

func (u *upload) Size() int64 { return u.size }

func (u *upload) Save(_ context.Context, note []byte) error {
	if err := u.check(); err != nil {
		return err
	}

	u.noted = true

	if err := u.root.writeNote(u.path, u.size, note); err != nil {
		return fmt.Errorf("save upload %s: %w", u.key, err)
	}

	return nil
}

// Reader opens the file a second time, so that it has a position of its own.
//
// Errors: storage.ErrRange.
func (u *upload) Reader(_ context.Context, offset int64) (io.ReadCloser, error) {
	if err := u.check(); err != nil {
		return nil, err
	}

	if offset < 0 || offset > u.size {
		return nil, fmt.Errorf("upload %s: %w: offset %d of %d", u.key, storage.ErrRange, offset, u.size)
	}

	file, err := openRegular(u.path, os.O_RDONLY)
	if err != nil {
		return nil, keyError("read upload", u.key, err)
	}

	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return nil, errors.Join(keyError("read upload", u.key, err), file.Close())
	}

	return file, nil
}

// Commit renames the file. The note goes first: without it an upload that could not
// be renamed is hashed again, whereas a note without an upload would stay for good.
func (u *upload) Commit(_ context.Context, dst string) (string, error) {
	path, err := u.root.file(dst)
	if err != nil {
		return "", err
	}

	if err := errors.Join(u.check(), u.dropNote()); err != nil {
		return "", err
	}

	if err := u.root.rename(u.path, path); err != nil {
		return "", fmt.Errorf("commit upload %s: %w", u.key, err)
	}

	return dst, u.Close()
}

func (u *upload) dropNote() error {
	if !u.noted {
		return nil
	}

	return removeFile(noteFile(u.path))
}

func (u *upload) Abort(ctx context.Context) error {
	if err := u.check(); err != nil {
		return err
	}

	if err := u.root.Delete(ctx, u.key); err != nil {
		return err
	}

	return u.Close()
}

func (u *upload) Close() error {
	if u.file == nil {
		return nil
	}

	file := u.file
	u.file = nil

	return file.Close()
}
