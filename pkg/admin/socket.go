package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
)

// maxSocketPath is how long the path of a socket may be (unix(7): sun_path has 108 bytes on
// Linux, one for the end; macOS and the BSDs have 104).
const maxSocketPath = 103

// socket is a listener on a path.
type socket struct {
	listener *net.UnixListener
	path     string
	file     os.FileInfo // what was put at path
}

// listenSocket makes the socket of root. Until it has its mode it lies in a directory of
// its own, which nobody else can enter; then it is renamed over what is there.
func listenSocket(root string) (*socket, error) {
	dir, err := os.MkdirTemp(root, socketName+".") // mode 0700
	if err != nil {
		return nil, err
	}
	defer os.Remove(dir) //nolint:errcheck // an empty directory that is left is in nobody's way

	listener, err := listenIn(dir)
	if err != nil {
		return nil, err
	}

	listener.SetUnlinkOnClose(false)

	s := &socket{listener: listener, path: SocketPath(root)}
	if err := s.place(filepath.Join(dir, socketName)); err != nil {
		return nil, errors.Join(err, listener.Close(), os.RemoveAll(dir))
	}

	return s, nil
}

func listenIn(dir string) (*net.UnixListener, error) {
	short, done, err := shorten(filepath.Join(dir, socketName))
	if err != nil {
		return nil, err
	}
	defer done()

	return net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
}

// place moves the socket from where it was made to its path.
func (s *socket) place(made string) error {
	if err := os.Chmod(made, 0o600); err != nil {
		return err
	}

	var err error
	if s.file, err = os.Lstat(made); err != nil {
		return err
	}

	return os.Rename(made, s.path)
}

// remove removes the socket's name, unless another process has put its own there.
func (s *socket) remove() error {
	if !isThere(s.path, s.file) {
		return nil
	}

	if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}

	return nil
}

// dialSocket connects to the socket of root.
func dialSocket(ctx context.Context, root string) (net.Conn, error) {
	short, done, err := shorten(SocketPath(root))
	if err != nil {
		return nil, err
	}
	defer done()

	return new(net.Dialer).DialContext(ctx, "unix", short)
}

// shorten returns a path of a socket that is not too long for one, and is good until done:
// a long one goes by the number of its open directory, where there is /proc.
func shorten(path string) (short string, done func(), err error) {
	if len(path) <= maxSocketPath {
		return path, func() {}, nil
	}

	if runtime.GOOS != "linux" {
		return "", nil, fmt.Errorf("%s: a path of a socket may have %d bytes, this one has %d", path, maxSocketPath, len(path))
	}

	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}

	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)), func() { dir.Close() }, nil
}

// isThere says whether two names are one file.
func isThere(path string, was os.FileInfo) bool {
	now, err := os.Lstat(path)

	return err == nil && os.SameFile(now, was)
}
