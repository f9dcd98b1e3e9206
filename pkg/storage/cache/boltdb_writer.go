package cache

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"
)

// writer is what the goroutine that writes remembers.
type writer struct {
	failing bool      // the last turn failed, and that was logged
	fresh   time.Time // when a fresh file was last made
}

// errTooSoon: the fresh file is lost as well.
var errTooSoon = errors.New("the last fresh file is too young")

// write is the goroutine that writes, makes a fresh file where one was lost, and
// tries again what failed.
func (b *BoltDB) write() {
	defer close(b.done)

	for failed := false; ; {
		var asked chan error

		select {
		case <-b.wake:
			asked = b.pause(failed)
		case asked = <-b.flushes:
		case <-b.stop:
			b.report(b.turn())

			return
		}

		err := b.turn()
		b.report(err)

		if failed = err != nil; failed {
			poke(b.wake)
		}

		if asked != nil {
			asked <- err
		}
	}
}

// pause lets operations gather, or the disk recover if the last turn failed. It
// returns whom to tell, if someone asks for a flush.
func (b *BoltDB) pause(failed bool) chan error {
	delay, hurry := b.opts.timing.flush, b.hurry
	if failed {
		delay, hurry = b.opts.timing.retry, nil // a full memory does not mend a full disk
	}

	timer := time.NewTimer(delay)
	defer timer.Stop()

	select {
	case <-timer.C:
	case <-hurry:
	case <-b.stop:
	case asked := <-b.flushes:
		return asked
	}

	return nil
}

// turn does what there is to do.
func (b *BoltDB) turn() error {
	if err := b.refresh(); err != nil {
		return err
	}

	// Once what failed before, once what came since.
	return errors.Join(b.flush(), b.flush())
}

// report logs the first failure and the first success after it.
func (b *BoltDB) report(err error) {
	switch {
	case errors.Is(err, errTooSoon): // that a file was lost is in the log
	case err != nil && !b.writer.failing:
		b.writer.failing = true
		b.opts.Log.Warn().Err(err).Str("file", b.path).Msg("cannot write the cache; trying again")
	case err == nil && b.writer.failing:
		b.writer.failing = false
		b.opts.Log.Info().Str("file", b.path).Msg("the cache is written again")
	}
}

// flush writes one batch.
func (b *BoltDB) flush() error {
	file, ops := b.take()
	if ops.bytes == 0 {
		return nil
	}

	err := file.write(ops, b.tooLate)
	if errors.Is(err, errLost) {
		return nil // so is ops; a turn that makes a fresh file follows
	}

	if err != nil {
		return fmt.Errorf("write to the cache: %w", err)
	}

	b.mu.Lock()
	defer b.mu.Unlock()

	if b.ops[0] == ops { // else it was forgotten meanwhile
		b.ops[0] = newBatch()
		b.room.Release(int64(ops.bytes))
	}

	return nil
}

// take returns the batch to write: the one that could not be written, else the one
// that waits.
func (b *BoltDB) take() (*boltFile, *batch) {
	b.mu.Lock()
	defer b.mu.Unlock()

	if b.ops[0].bytes == 0 {
		b.ops = layers{b.ops[1], newBatch()}
	}

	return b.file, b.ops[0]
}

// write does the operations to a bucket, and says whether that changed it. Digests
// are sorted, so that each page is visited once.
func (b *batch) write(bucket *bbolt.Bucket) (changed bool, err error) {
	last := bucket.Sequence()

	for _, dgst := range slices.Sorted(maps.Keys(b.byDigest)) {
		for key, next := range b.byDigest[dgst].ops {
			did, err := next.apply(bucket, dgst, key)
			if err != nil {
				return false, fmt.Errorf("write %s: %w", dgst, err)
			}

			changed, last = changed || did, max(last, next.seq)
		}
	}

	if !changed {
		return false, nil
	}

	return true, bucket.SetSequence(last)
}

// apply writes one operation, and says whether that changed anything.
func (o op) apply(bucket *bbolt.Bucket, dgst digest.Digest, key string) (bool, error) {
	stored := encodeKey(dgst, key)
	pair := pairEntry(dgst, stored)
	old := bytes.Clone(bucket.Get(pair))

	if old != nil && !o.drop {
		return false, nil
	}

	if old != nil {
		if err := remove(bucket, dgst, pair, old); err != nil {
			return false, err
		}
	}

	if o.seq == 0 {
		return old != nil, nil
	}

	order := orderEntry(dgst, o.seq)

	return true, errors.Join(bucket.Put(order, stored), bucket.Put(pair, order[len(order)-seqSize:]))
}

func remove(bucket *bbolt.Bucket, dgst digest.Digest, pair, storedSeq []byte) error {
	seq, err := decodeSeq(storedSeq)
	if err != nil {
		return err
	}

	return errors.Join(bucket.Delete(pair), bucket.Delete(orderEntry(dgst, seq)))
}
