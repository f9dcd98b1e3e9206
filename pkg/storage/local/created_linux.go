package local

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// Created is when the file of a key was made, whatever time it bears. A rename does not change it,
// nor does a link.
func (r *Root) Created(_ context.Context, key string) (time.Time, error) {
	path, err := r.file(key)
	if err != nil {
		return time.Time{}, err
	}

	var stat unix.Statx_t

	err = unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BTIME, &stat)
	if errors.Is(err, unix.ENOSYS) || err == nil && stat.Mask&unix.STATX_BTIME == 0 {
		return time.Time{}, nil // the kernel, or the file system, does not know
	}

	if err != nil {
		return time.Time{}, keyError("stat", key, err)
	}

	return time.Unix(stat.Btime.Sec, int64(stat.Btime.Nsec)), nil
}
