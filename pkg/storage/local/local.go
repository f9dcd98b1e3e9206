// Package local keeps an image store in a directory: storage.Driver over files.
//
// Read this file first, then docs/local-format.md, which shows the tree of files,
// every format, and what a crash leaves at each point. objects.go, uploads.go and
// log.go are the three parts of the driver; flush.go makes what they wrote durable.
//
// All files that are not appended to are written in full under _tmp, then renamed
// into place. A root is one file system: nothing below it may be a mount point.
package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/storage"
)

// What a root has beside repositories. Names of repositories never start so.
const (
	lockName   = ".zot.lock"
	privateDir = "_zot" // root.json, reserve
	tempDir    = "_tmp" // files being written; emptied at start
)

const (
	dirMode  = 0o700
	fileMode = 0o600
)

// RootOptions says which directory to open, and how.
type RootOptions struct {
	Path string // made if it is not there

	// LockWait is how long to wait for another process to leave the root; 0 = not
	// at all.
	LockWait time.Duration

	// Commit makes Sync flush to disk. Without it a power cut loses what the kernel
	// had not written by itself; checkpoints are flushed all the same.
	Commit bool

	Log zerolog.Logger
}

// Root is a directory that holds an image store, and the storage.Driver over it.
// One process at a time has a root open.
type Root struct {
	path   string // absolute
	id     string
	boot   string // notes of uploads count only in the boot that wrote them
	commit bool
	log    zerolog.Logger
	opened time.Time

	lock  *os.File
	flush *flusher
	dir   int // the open directory, so that a path to a file in it is short
	dirs  plainDirs
	temps atomic.Uint64 // temporary files made so far
}

// NewStore opens the image store in root. The store owns root and cache from now on.
func NewStore(
	ctx context.Context, root *Root, cache storage.Cache, opts storage.Options,
) (*storage.Store, error) {
	return storage.Open(ctx, root, cache, opts)
}

// OpenRoot opens a directory as a root; the caller closes it. It waits for another
// process to leave, takes what an earlier one left half-written away, and warns of
// what the file system cannot do.
//
// Errors: *LockedError; storage.ErrFormat, with nothing written; storage.ErrDamaged.
func OpenRoot(ctx context.Context, opts RootOptions) (*Root, error) {
	path, err := filepath.Abs(opts.Path)
	if err != nil {
		return nil, fmt.Errorf("open root: %w", err)
	}

	r := &Root{path: path, boot: bootID(), commit: opts.Commit, log: opts.Log, opened: time.Now()}
	if err := r.open(ctx, opts.LockWait); err != nil {
		return nil, errors.Join(fmt.Errorf("open root %s: %w", path, err), r.Close())
	}

	return r, nil
}

func (r *Root) open(ctx context.Context, lockWait time.Duration) error {
	if err := os.MkdirAll(r.path, dirMode); err != nil {
		return err
	}

	for _, name := range []string{privateDir, tempDir} {
		if stat, err := os.Lstat(filepath.Join(r.path, name)); err == nil && !stat.IsDir() {
			return fmt.Errorf("%w: %s is no directory", storage.ErrDamaged, name)
		}
	}

	var err error
	if r.lock, err = lockFile(ctx, filepath.Join(r.path, lockName), lockWait, r.log); err != nil {
		return err
	}

	format, err := readFormat(r.path)
	if err != nil {
		return err
	}

	if r.flush, err = newFlusher(r.path, r.log); err != nil {
		return err
	}

	r.dir = int(r.flush.dir.Fd())

	// The directory is locked, too: a lock file can be deleted.
	if err := waitLock(ctx, r.flush.dir, lockWait, r.log); err != nil {
		return err
	}

	if err := emptyTemp(r.path); err != nil {
		return err
	}

	if r.id, err = r.identify(format); err != nil {
		return err
	}

	if err := r.keepReserve(); err != nil {
		return err
	}

	return r.probe()
}

// ID is the random string that was put into the root when it was new.
func (r *Root) ID() string { return r.id }

// Remote is false: a directory has one process, and asking it costs next to nothing.
func (r *Root) Remote() bool { return false }

// Close gives the root to the next process.
func (r *Root) Close() error {
	var errs []error
	if r.flush != nil {
		errs = append(errs, r.flush.close())
	}

	if r.lock != nil {
		errs = append(errs, r.lock.Close())
	}

	return errors.Join(errs...)
}

// Sync makes durable whatever was written before the call, unless the root was
// opened without Commit.
func (r *Root) Sync(context.Context) error {
	if !r.commit {
		return nil
	}

	return r.flush.sync()
}

// Changes implements storage.Changer.
func (r *Root) Changes() uint64 { return r.flush.changes.Load() }

// SyncAlways implements storage.AlwaysSyncer.
func (r *Root) SyncAlways(context.Context) error { return r.flush.sync() }

// file returns the path of a key.
//
// Errors: fs.ErrInvalid, storage.ErrDamaged if a link is in the way.
func (r *Root) file(key string) (string, error) {
	if err := checkKey(key); err != nil {
		return "", err
	}

	if err := r.checkDirs(key); err != nil {
		return "", err
	}

	return r.path + "/" + key, nil
}

// checkKey says whether a key can be a path below the root.
func checkKey(key string) error {
	if !fs.ValidPath(key) || key == "." || strings.ContainsRune(key, 0) {
		return fmt.Errorf("key %q: %w", key, fs.ErrInvalid)
	}

	return nil
}
