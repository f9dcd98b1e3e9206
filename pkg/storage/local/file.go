package local

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// The functions here do what those of os do with the system calls that it takes, and no more:
// os.OpenFile makes six for a file, to find out whether it can be waited for, os.Rename two.

// openFile is os.OpenFile, for what is a regular file: it does not follow a link, nor wait for
// the other end of a pipe.
func openFile(path string, flags int, mode uint32) (*os.File, error) {
	flags |= unix.O_CLOEXEC | unix.O_NOFOLLOW

	if flags&unix.O_EXCL == 0 { // what it makes itself is no pipe, and this costs a call in os.NewFile
		flags |= unix.O_NONBLOCK
	}

	for {
		fd, err := unix.Open(path, flags, mode)
		if err == nil {
			return os.NewFile(uintptr(fd), path), nil
		}

		if !errors.Is(err, unix.EINTR) {
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

// renameFile is os.Rename, for files.
func renameFile(from, to string) error {
	for {
		err := unix.Rename(from, to)
		if err == nil {
			return nil
		}

		if !errors.Is(err, unix.EINTR) {
			return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
		}
	}
}

// statFile is fstatat(2). It looks at a link itself.
func statFile(dir int, path string, stat *unix.Stat_t) error {
	for {
		if err := unix.Fstatat(dir, path, stat, unix.AT_SYMLINK_NOFOLLOW); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
