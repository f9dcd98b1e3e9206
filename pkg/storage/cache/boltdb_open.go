package cache

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bberrors "go.etcd.io/bbolt/errors"
)

// Why a file is moved aside; the name that it gets is cache.db.<why>-<n>.
const (
	asideDamaged  = "damaged"
	asideUpstream = "upstream" // the cache.db of an upstream zot
	asideOther    = "other"    // another program's, another store's, or a newer zot's
)

// maxAside is how many files are kept per reason. The next one replaces the last, so
// that what damages the file again and again does not fill the disk.
const maxAside = 9

// mapSize is how much of the file is mapped from the start, whatever its size is: room
// for some three million pairs. Mapping more later makes readers wait. It costs address
// space, no memory.
const mapSize = 1 << 30

// growBy is by how many bytes the file grows. Each time costs a sync.
const growBy = 4 << 20

// fileMode is as bbolt has it in its examples: for this user alone.
const fileMode = 0o600

// errUpstream: the file is an upstream zot's.
var errUpstream = errors.New("written by an upstream zot")

// openKept opens the file at path as it is. One that is missing or empty is made.
//
// Errors: errDamaged, errUpstream, errOther: the file is closed and as it was;
// bberrors.ErrTimeout.
func openKept(path, store string, wait time.Duration) (*boltFile, error) {
	if err := inspectPath(path); err != nil {
		return nil, err
	}

	return openBolt(path, store, wait, 0)
}

func inspectPath(path string) (err error) {
	info, err := os.Lstat(path) // a link is moved aside, not what it leads to
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().IsRegular() && info.Size() == 0 {
		return nil
	}

	if err == nil && !info.Mode().IsRegular() { // opening a pipe would wait
		return fmt.Errorf("%w: it is no regular file", errDamaged)
	}

	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open the cache's file: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()

	return inspect(file)
}

// openFresh makes a new file at path, where there is none.
//
// Errors: fs.ErrExist.
func openFresh(path, store string, wait time.Duration) (*boltFile, error) {
	return openBolt(path, store, wait, os.O_EXCL)
}

// openBolt opens a file and checks its mark. A fault on the way is damage.
func openBolt(path, store string, wait time.Duration, flags int) (file *boltFile, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))

	var handle *os.File // bbolt's own

	defer func() {
		if fault := recover(); fault != nil {
			err = errors.Join(fmt.Errorf("%w: %v", errDamaged, fault), handle.Close())
			file = nil
		}
	}()

	db, err := bbolt.Open(path, fileMode, &bbolt.Options{
		Timeout:         wait,
		FreelistType:    bbolt.FreelistMapType,
		InitialMmapSize: mapSize,
		NoStatistics:    true, // a lock less for each read
		OpenFile: func(name string, flag int, perm os.FileMode) (opened *os.File, err error) {
			opened, err = os.OpenFile(name, flag|flags|syscall.O_NOFOLLOW, perm)
			handle = opened

			return opened, err
		},
	})
	if err != nil {
		return nil, openError(err)
	}

	db.AllocSize = growBy

	file = newBoltFile(path, db, handle)
	if err := file.openMark(store); err != nil {
		return nil, errors.Join(err, db.Close())
	}

	return file, nil
}

func openError(err error) error {
	switch {
	case errors.Is(err, bberrors.ErrInvalid), errors.Is(err, bberrors.ErrChecksum),
		errors.Is(err, bberrors.ErrVersionMismatch):
		return fmt.Errorf("%w: %w", errDamaged, err)
	default:
		return fmt.Errorf("open the cache's file: %w", err)
	}
}

// openMark checks or writes the mark, and takes down what the file looks like.
func (f *boltFile) openMark(store string) error {
	id, err := f.handle.Stat()
	if err != nil {
		return fmt.Errorf("look at the cache's file: %w", err)
	}

	f.id = id

	tx, err := f.db.Begin(true)
	if err != nil {
		return fmt.Errorf("open the cache's file: %w", err)
	}

	fresh, err := f.checkMark(tx, store)
	if err != nil {
		return errors.Join(err, tx.Rollback())
	}

	number := int64(tx.ID())
	if !fresh {
		f.lastTx.Store(number - 1)

		return errors.Join(tx.Rollback(), f.reseal())
	}

	if err := f.writeMark(tx, store); err != nil {
		return errors.Join(err, tx.Rollback())
	}

	f.lastTx.Store(number)

	return errors.Join(tx.Commit(), f.reseal())
}

// checkMark says whether the file is ours, or so fresh that it has no mark yet.
//
// Errors: errUpstream, errOther, errDamaged.
func (f *boltFile) checkMark(tx *bbolt.Tx, store string) (fresh bool, err error) {
	mark := tx.Bucket(markBucket)
	if mark == nil {
		return checkUnmarked(tx)
	}

	if format := mark.Get(markFormat); string(format) != formatVersion {
		return false, fmt.Errorf("%w: its format is %.20q, ours %q", errOther, format, formatVersion)
	}

	if id := mark.Get(markStore); string(id) != store {
		return false, fmt.Errorf("%w: it belongs to the store %.40q, not to %q", errOther, id, store)
	}

	f.bucket = bytes.Clone(mark.Get(markDigests))

	digests := tx.Bucket(f.bucket)
	if digests == nil {
		return false, fmt.Errorf("%w: it has no digests", errDamaged)
	}

	f.seq = digests.Sequence()

	return false, nil
}

func checkUnmarked(tx *bbolt.Tx) (fresh bool, err error) {
	if tx.Bucket(upstreamBucket) != nil {
		return false, errUpstream
	}

	if name, _ := tx.Cursor().First(); name != nil {
		return false, fmt.Errorf("%w: it has a bucket %.40q", errOther, name)
	}

	return true, nil // bbolt made it, and we stopped before we had marked it
}

// writeMark gives the bucket of digests a random name, so that whoever looks for it
// in another file does not find it.
func (f *boltFile) writeMark(tx *bbolt.Tx, store string) error {
	mark, err := tx.CreateBucket(markBucket)
	if err != nil {
		return fmt.Errorf("mark the cache's file: %w", err)
	}

	f.bucket = []byte("digests " + rand.Text())

	_, err = tx.CreateBucket(f.bucket)

	err = errors.Join(err, mark.Put(markFormat, []byte(formatVersion)),
		mark.Put(markStore, []byte(store)), mark.Put(markDigests, f.bucket))
	if err != nil {
		return fmt.Errorf("mark the cache's file: %w", err)
	}

	return nil
}

// moveAside gives whatever is at path another name, and returns that: "" if there is
// nothing.
func moveAside(path, why string) (string, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}

	aside := freeName(path + "." + why + "-")
	if err := os.Rename(path, aside); err != nil {
		return "", fmt.Errorf("move the cache's file aside: %w", err)
	}

	return aside, nil
}

func freeName(prefix string) string {
	name := ""

	for n := 1; n <= maxAside; n++ {
		name = prefix + strconv.Itoa(n)
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			break
		}
	}

	return name
}
