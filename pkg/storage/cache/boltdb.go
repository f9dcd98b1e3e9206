package cache

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"
	"go.etcd.io/bbolt"
	"golang.org/x/sync/semaphore"
)

// BoltName is the name of this driver in a configuration.
const BoltName = "boltdb"

// boltFileName is the file below BoltOptions.Directory.
const boltFileName = "cache.db"

// ErrClosed is returned by a cache that was closed.
var ErrClosed = errors.New("cache is closed")

// errFull: puts come faster than the file takes them, or there is no file.
var errFull = errors.New("the cache's file takes nothing, and its memory is full")

// BoltOptions are the settings of a BoltDB.
type BoltOptions struct {
	Directory string // where cache.db lies; it exists
	Namespace string // the id of the image store; the file of another one is not used
	Log       zerolog.Logger

	timing boltTiming
}

// boltTiming is how long things take; tests have their own.
type boltTiming struct {
	read   time.Duration // a read that takes longer than this is of no use, and given up
	flush  time.Duration // a put waits at most about this long to be written
	retry  time.Duration // between two tries to write, or to make a file
	fresh  time.Duration // between the making of two fresh files
	lock   time.Duration // to wait for another process's lock when opening
	close  time.Duration // Close waits at most this long for the disk
	room   time.Duration // a put waits at most this long for memory
	memory int           // bytes of operations that may wait; written when half of that does
}

var defaultTiming = boltTiming{
	read:   time.Second,
	flush:  200 * time.Millisecond,
	retry:  time.Second,
	fresh:  10 * time.Second,
	lock:   5 * time.Second,
	close:  10 * time.Second,
	room:   10 * time.Second,
	memory: 2 << 20, // measured: docs/cache.md, "Benchmark"
}

// BoltDB keeps the cache of one image store in a file, cache.db. Its methods may be
// called concurrently.
//
// Puts and deletes are kept in memory and written in batches behind, each batch whole
// or not at all. kill -9 loses the last few tenths of a second. If the file is
// damaged, also while it is in use, all that it held and all that waits is forgotten
// at once, and a fresh file is made: a cache that has lost anything has lost
// everything, so one entry tells whether it is complete.
type BoltDB struct {
	opts BoltOptions
	path string

	mu     sync.Mutex  // guards what follows
	file   *boltFile   // nil while there is none
	files  []*boltFile // those not released yet, file too
	ops    layers
	seq    uint64 // of the last put
	closed bool   // no more operations

	room    *semaphore.Weighted // bytes that ops may grow by
	wake    chan struct{}       // something to do; has room for one
	hurry   chan struct{}       // do it now; has room for one
	flushes chan chan error
	stop    chan struct{} // closed by Close
	tooLate chan struct{} // closed when Close has waited long enough
	done    chan struct{} // closed: the writer has ended
	writer  writer
}

// OpenBoltDB opens the cache in opts.Directory, or makes an empty one. A file that is
// damaged, or another program's, is moved aside. The caller closes the BoltDB.
func OpenBoltDB(opts BoltOptions) (*BoltDB, error) {
	if opts.timing == (boltTiming{}) {
		opts.timing = defaultTiming
	}

	b := &BoltDB{
		opts:    opts,
		path:    filepath.Join(opts.Directory, boltFileName),
		ops:     layers{newBatch(), newBatch()},
		room:    semaphore.NewWeighted(int64(opts.timing.memory)),
		wake:    make(chan struct{}, 1),
		hurry:   make(chan struct{}, 1),
		flushes: make(chan chan error),
		stop:    make(chan struct{}),
		tooLate: make(chan struct{}),
		done:    make(chan struct{}),
	}

	file, err := b.openFirst()
	if err != nil {
		return nil, err
	}

	b.seq = file.seq
	b.adopt(file)

	go b.write()

	return b, nil
}

// Name is the name of the driver.
func (b *BoltDB) Name() string { return BoltName }

// Local says that no call waits for a network.
func (b *BoltDB) Local() bool { return true }

// GetBlob returns the first key that was put under dgst and not deleted.
//
// Errors: ErrMiss, ErrClosed.
func (b *BoltDB) GetBlob(ctx context.Context, dgst digest.Digest) (string, error) {
	b.mu.Lock()
	waiting, dropped := b.ops.first(dgst)
	file, closed := b.file, b.closed
	b.mu.Unlock()

	if closed {
		return "", ErrClosed
	}

	found := file.read(ctx, func(bucket *bbolt.Bucket) answer {
		key, err := firstKey(bucket, dgst, dropped)

		return answer{keys: []string{key}, err: err}
	})

	switch {
	case errors.Is(found.err, errLost):
	case found.err != nil:
		return "", fmt.Errorf("get %s from the cache: %w", dgst, found.err)
	case found.keys[0] != "":
		return found.keys[0], nil // what is on disk was put before what waits
	}

	if waiting == "" {
		return "", ErrMiss
	}

	return waiting, nil
}

// GetAllBlobs returns the first limit keys of dgst in the order in which they were put;
// a negative limit is none.
//
// Errors: ErrMiss, ErrClosed.
func (b *BoltDB) GetAllBlobs(ctx context.Context, dgst digest.Digest, limit int) ([]string, error) {
	b.mu.Lock()
	ops := b.ops.all(dgst)
	file, closed := b.file, b.closed
	b.mu.Unlock()

	if closed {
		return nil, ErrClosed
	}

	found := file.read(ctx, func(bucket *bbolt.Bucket) answer { return allKeys(bucket, dgst, maps.Clone(ops), limit) })
	if errors.Is(found.err, errLost) {
		found = answer{keys: putOrder(ops)}
	}

	if found.err != nil {
		return nil, fmt.Errorf("get %s from the cache: %w", dgst, found.err)
	}

	if len(found.keys) == 0 {
		return nil, ErrMiss
	}

	if limit >= 0 && len(found.keys) > limit {
		found.keys = found.keys[:limit]
	}

	return found.keys, nil
}

// HasBlob says whether key is remembered under dgst.
//
// Errors: ErrClosed.
func (b *BoltDB) HasBlob(ctx context.Context, dgst digest.Digest, key string) (bool, error) {
	b.mu.Lock()
	waiting := b.ops.op(dgst, key)
	file, closed := b.file, b.closed
	b.mu.Unlock()

	if closed {
		return false, ErrClosed
	}

	if waiting != (op{}) {
		return waiting.seq != 0, nil
	}

	if !fits(dgst, key) {
		return false, nil // such a pair was never put
	}

	pair := pairEntry(dgst, encodeKey(dgst, key))

	found := file.read(ctx, func(bucket *bbolt.Bucket) answer { return answer{has: bucket.Get(pair) != nil} })
	if found.err != nil && !errors.Is(found.err, errLost) {
		return false, fmt.Errorf("look for %s in the cache: %w", dgst, found.err)
	}

	return found.has, nil
}

// PutBlob remembers key under dgst.
//
// Errors: ErrClosed, ErrPair.
func (b *BoltDB) PutBlob(ctx context.Context, dgst digest.Digest, key string) error {
	if err := checkPair(dgst, key); err != nil {
		return fmt.Errorf("put %.80s into the cache: %w", dgst, err)
	}

	return b.add(ctx, dgst, key, op{seq: 1})
}

// DeleteBlob forgets key under dgst.
//
// Errors: ErrClosed.
func (b *BoltDB) DeleteBlob(ctx context.Context, dgst digest.Digest, key string) error {
	if !fits(dgst, key) {
		return nil // such a pair was never put
	}

	return b.add(ctx, dgst, key, op{drop: true})
}

// add adds an operation to those that wait. It waits itself only while memory is
// full, which happens to those that put faster than the disk takes it, a rebuild, and
// to others meanwhile: each in its turn, so for about one commit.
func (b *BoltDB) add(ctx context.Context, dgst digest.Digest, key string, next op) error {
	size := opBytes + len(dgst) + len(key)

	if err := b.reserve(ctx, size); err != nil {
		return err
	}

	b.mu.Lock()
	defer b.mu.Unlock()

	if b.closed {
		b.room.Release(int64(size))

		return ErrClosed
	}

	if next.seq != 0 {
		b.seq++
		next.seq = b.seq
	}

	if !b.ops[1].add(dgst, key, next, size) {
		b.room.Release(int64(size))
	}

	poke(b.wake)

	if b.ops[1].bytes > b.opts.timing.memory/2 {
		poke(b.hurry)
	}

	return nil
}

// reserve takes size bytes of the memory for what waits.
func (b *BoltDB) reserve(ctx context.Context, size int) error {
	if b.room.TryAcquire(int64(size)) {
		return nil
	}

	poke(b.hurry)

	limited, cancel := context.WithTimeout(ctx, b.opts.timing.room)
	defer cancel()

	if b.room.Acquire(limited, int64(size)) == nil {
		return nil
	}

	if err := ctx.Err(); err != nil {
		return fmt.Errorf("wait for room in the cache: %w", err)
	}

	return errFull
}

// Flush writes what waits. Nobody need call it: it is for tests, and for those who
// measure.
//
// Errors: ErrClosed.
func (b *BoltDB) Flush(ctx context.Context) error {
	written := make(chan error, 1)

	select {
	case b.flushes <- written:
	case <-b.done:
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("flush the cache: %w", ctx.Err())
	}

	poke(b.hurry)

	select {
	case err := <-written:
		return err
	case <-ctx.Done():
		return fmt.Errorf("flush the cache: %w", ctx.Err())
	}
}

// Close writes what waits and closes the file. A disk that does not answer is waited
// for only a while.
func (b *BoltDB) Close() error {
	b.mu.Lock()
	again := b.closed
	b.closed = true
	b.mu.Unlock()

	if again {
		return nil
	}

	late := time.AfterFunc(b.opts.timing.close, func() { close(b.tooLate) })
	defer late.Stop()

	close(b.stop)
	<-b.done

	return b.closeFile()
}

// poke puts a token into a channel that has room for one.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
