package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
)

// readers is how many goroutines read a file at a time. Reads find pages in memory
// as a rule; where they do not, these are the disk reads under way.
const readers = 8

var (
	errLost = errors.New("the cache's file is lost")
	errSlow = errors.New("the cache's file is too slow")

	errAnother = fmt.Errorf("%w: it is an older or another file now", errDamaged)
)

// boltFile is cache.db while it is open.
//
// bbolt maps the file, so whoever damages it makes bbolt fault or panic, and perhaps
// leave its locks held for ever. Therefore only the goroutines of the boltFile, which
// survive both, enter bbolt, and everyone else waits for them only as long as the
// file is not lost. Once it is, no goroutine takes a lock of bbolt again.
type boltFile struct {
	path   string
	db     *bbolt.DB
	handle *os.File    // bbolt's own
	id     os.FileInfo // names the inode
	bucket []byte      // the name of the bucket of digests, which no other file has
	seq    uint64      // of the newest put in it when it was opened

	reads  chan job
	writes chan job
	stop   chan struct{} // closed: no more jobs will come
	dead   chan struct{} // closed: the file is lost

	seal   seal
	lastTx atomic.Int64 // bbolt's number of our last commit

	gate     sync.Mutex  // held to take locks of bbolt
	poisoned atomic.Bool // bbolt panicked with a lock held

	loseOnce sync.Once
	patience time.Duration // how long a read waits
	onLoss   func(error)   // called once, with the cause, before dead is closed
	workers  atomic.Int32  // that have not ended
	released chan struct{} // closed: all have ended and the handle is closed
}

// job is work for a goroutine that may enter bbolt.
type job struct {
	run  func() answer
	done chan answer // has room for one: nobody may be waiting any more
}

// answer is what a job found out.
type answer struct {
	keys []string
	has  bool
	err  error
}

func newBoltFile(path string, db *bbolt.DB, handle *os.File) *boltFile {
	return &boltFile{
		path:     path,
		db:       db,
		handle:   handle,
		reads:    make(chan job),
		writes:   make(chan job),
		stop:     make(chan struct{}),
		dead:     make(chan struct{}),
		released: make(chan struct{}),
	}
}

// start begins to take jobs. A read waits for its answer for as long as patience says.
// onLoss is called when the file turns out to be lost.
func (f *boltFile) start(patience time.Duration, onLoss func(error)) {
	f.patience, f.onLoss = patience, onLoss
	f.workers.Store(readers + 1)

	for range readers {
		go f.work(f.reads)
	}

	go f.work(f.writes)
}

// work does jobs until the file is closed or lost. The last worker closes it.
func (f *boltFile) work(jobs <-chan job) {
	debug.SetPanicOnFault(true) // for this goroutine, which does nothing else

	for open := true; open; {
		select {
		case next := <-jobs:
			next.done <- f.guarded(next.run)
		case <-f.stop:
			open = false
		case <-f.dead:
			open = false
		}
	}

	if f.workers.Add(-1) == 0 {
		f.release()
	}
}

// guarded runs what enters bbolt. A panic there is the end of the file, not ours.
func (f *boltFile) guarded(run func() answer) (result answer) {
	defer func() {
		if fault := recover(); fault != nil {
			result = f.lose(fmt.Errorf("%w: %v", errDamaged, fault))
		}
	}()

	select {
	case <-f.dead:
		return answer{err: errLost}
	default:
		return run()
	}
}

// lose ends the use of the file.
func (f *boltFile) lose(cause error) answer {
	f.loseOnce.Do(func() {
		f.onLoss(cause)
		close(f.dead)
	})

	return answer{err: errLost}
}

// read runs look in a transaction. It works on nil too, which is no file.
//
// Errors: errLost, errSlow, ErrClosed, those of ctx.
func (f *boltFile) read(ctx context.Context, look func(*bbolt.Bucket) answer) answer {
	if f == nil {
		return answer{err: errLost}
	}

	limit := time.NewTimer(f.patience)
	defer limit.Stop()

	result := f.ask(f.reads, ctx.Done(), limit.C, func() answer { return f.view(look) })
	if errors.Is(result.err, errSlow) && ctx.Err() != nil {
		result.err = ctx.Err()
	}

	return result
}

// write writes a batch. It waits until quit is closed.
//
// Errors: errLost, errSlow, those of bbolt: the file is as it was.
func (f *boltFile) write(b *batch, quit <-chan struct{}) error {
	if f == nil {
		return errLost
	}

	return f.ask(f.writes, quit, nil, func() answer { return f.commit(b.write) }).err
}

// ask hands a job to the workers and waits for the answer, until quit or limit.
func (f *boltFile) ask(jobs chan<- job, quit <-chan struct{}, limit <-chan time.Time, run func() answer) answer {
	ours := job{run: run, done: make(chan answer, 1)}

	select {
	case jobs <- ours:
	case <-f.dead:
		return answer{err: errLost}
	case <-f.stop:
		return answer{err: ErrClosed}
	case <-limit:
		return answer{err: errSlow}
	case <-quit:
		return answer{err: errSlow}
	}

	select {
	case result := <-ours.done:
		return result
	case <-f.dead:
		return answer{err: errLost}
	case <-limit:
		return answer{err: errSlow}
	case <-quit:
		return answer{err: errSlow}
	}
}

// gated runs what takes locks of bbolt. If it panics they stay held, and nobody may
// ever wait for them.
//
// Errors: errLost, those of run.
func (f *boltFile) gated(run func() error) error {
	f.gate.Lock()
	defer f.gate.Unlock()

	if f.poisoned.Load() {
		return errLost
	}

	returned := false
	defer func() {
		if !returned {
			f.poisoned.Store(true)
		}
	}()

	err := run()
	returned = true

	return err
}

// begin begins a transaction.
func (f *boltFile) begin(writable bool) (tx *bbolt.Tx, err error) {
	err = f.gated(func() error {
		tx, err = f.db.Begin(writable)

		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}

	return tx, nil
}

// view is run by a worker. Whatever goes wrong in a read is damage.
func (f *boltFile) view(look func(*bbolt.Bucket) answer) answer {
	if err := f.unchanged(); err != nil {
		return f.lose(err)
	}

	last := f.lastTx.Load()

	tx, err := f.begin(false)
	if err != nil {
		return f.lose(err)
	}

	// After a fault too: a writer may be waiting until the mapping is not read. An
	// error says that the file is lost.
	defer func() { _ = f.gated(tx.Rollback) }()

	result := f.look(tx, last, look)
	if result.err != nil {
		return f.lose(result.err)
	}

	return result
}

func (f *boltFile) look(tx *bbolt.Tx, last int64, look func(*bbolt.Bucket) answer) answer {
	bucket := tx.Bucket(f.bucket)
	if bucket == nil || int64(tx.ID()) < last {
		return answer{err: errAnother}
	}

	return look(bucket)
}

// close ends the workers, unless the file is lost: then they are ending already.
func (f *boltFile) close() { f.loseOnce.Do(func() { close(f.stop) }) }

// release closes the file. If bbolt panicked with a lock held, only the handle is
// closed: Close would wait for that lock. The mapping is leaked then, which holds
// address space, and nothing that anyone waits for. If the writer was just about to
// take that lock, it is stuck, and nobody comes to call release: one goroutine and
// the handle are leaked too.
func (f *boltFile) release() {
	if err := f.gated(f.db.Close); errors.Is(err, errLost) {
		_ = f.handle.Close() // of a file that was given up; all that mattered was synced
	}

	close(f.released)
}
