package local

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"zotregistry.io/zot/pkg/storage"
)

// Below a root no symbolic link is followed: what was brought there, with an archive say, leads
// nowhere else. The last part of a path is for the system call to refuse, the directories
// before it are for checkDirs. The path of the root itself may have links in it.

// checkDirs says whether one of the directories that a key names is a link. Those that are not
// there yet are none.
//
// Errors: storage.ErrDamaged.
func (r *Root) checkDirs(key string) error {
	end := strings.LastIndexByte(key, '/')
	if end < 0 {
		return nil
	}

	dir := key[:end]
	if r.dirs.fresh(dir) {
		return nil
	}

	for at := 0; at <= len(dir); at++ {
		if at < len(dir) && dir[at] != '/' {
			continue
		}

		var stat unix.Stat_t

		switch err := statFile(r.dir, dir[:at], &stat); {
		case gone(err), errors.Is(err, unix.ENAMETOOLONG):
			return nil
		case err != nil:
			return &fs.PathError{Op: "stat", Path: dir[:at], Err: err}
		case stat.Mode&unix.S_IFMT == unix.S_IFLNK:
			return fmt.Errorf("%w: %s is a symbolic link, and none is followed below a root", storage.ErrDamaged, dir[:at])
		}
	}

	r.dirs.add(dir)

	return nil
}

// plainDirs are directories that were no links a moment ago: to look at them for each request
// would take longer than to open a file. Its methods may be called concurrently.
type plainDirs struct {
	mu   sync.RWMutex // guards seen
	seen map[string]time.Time
}

const (
	plainFor  = time.Second
	plainMost = 4096 // then all are forgotten
)

func (d *plainDirs) fresh(dir string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()

	seen, ok := d.seen[dir]

	return ok && time.Since(seen) < plainFor
}

func (d *plainDirs) add(dir string) {
	d.mu.Lock()
	defer d.mu.Unlock()

	if d.seen == nil || len(d.seen) >= plainMost {
		d.seen = map[string]time.Time{}
	}

	d.seen[strings.Clone(dir)] = time.Now()
}

// checkFile is an error if an open file is no regular one.
func checkFile(file *os.File) error {
	stat, err := file.Stat()
	if err == nil && !stat.Mode().IsRegular() {
		err = noFile(file.Name())
	}

	return err
}

func noFile(path string) error {
	return fmt.Errorf("%w: %s is no regular file", storage.ErrDamaged, path)
}

// openRegular opens a file that is there. A link is none, nor is a pipe.
//
// Errors: fs.ErrNotExist, storage.ErrDamaged.
func openRegular(path string, flags int) (*os.File, error) {
	file, err := openFile(path, flags, 0)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) { // a link; a pipe that nobody reads
		return nil, noFile(path)
	}

	if err != nil {
		return nil, err
	}

	if err := checkFile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}

	return file, nil
}

// readRegular reads such a file.
//
// Errors: as openRegular.
func readRegular(path string) ([]byte, error) {
	file, err := openRegular(path, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}

	stat, err := file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}

	data := make([]byte, stat.Size())
	n, err := io.ReadFull(file, data)

	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) { // it was cut short meanwhile
		err = nil
	}

	return data[:n], errors.Join(err, file.Close())
}

// checkEntry is an error if a name in a directory of zot's own is no regular file.
func checkEntry(dir string, entry fs.DirEntry) error {
	if entry.Type().IsRegular() {
		return nil
	}

	return noFile(dir + "/" + entry.Name())
}
