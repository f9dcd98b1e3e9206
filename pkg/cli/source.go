package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// maxSize is the size in bytes above which a file is no configuration. One that names
// thousands of repositories has less than 1 MiB.
const maxSize = 10 << 20

// source reads the configuration file at path. It does not wait for what is no regular
// file: a pipe that nobody writes to would be waited for without end, and a signal
// does not interrupt that.
func source(path string) (data []byte, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}

	defer func() { err = errors.Join(err, f.Close()) }()

	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}

	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: is %s; name a regular file", path, kindOf(info.Mode()))
	}

	data, err = io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}

	if len(data) > maxSize {
		return nil, fmt.Errorf("%s: is larger than %d MiB; name a configuration file", path, maxSize>>20)
	}

	return data, nil
}

// kindOf says what a file is that is not regular.
func kindOf(mode os.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode&os.ModeNamedPipe != 0:
		return "a pipe"
	case mode&os.ModeDevice != 0:
		return "a device"
	default:
		return "no regular file"
	}
}
