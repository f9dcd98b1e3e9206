package cache

import (
	"errors"

	"go.etcd.io/bbolt"
)

// commit runs change in a transaction and makes it durable. change says whether
// there is anything to write. It is run by the worker for writes.
func (f *boltFile) commit(change func(*bbolt.Bucket) (bool, error)) answer {
	if err := f.unchanged(); err != nil {
		return f.lose(err)
	}

	tx, err := f.begin(true)
	if err != nil {
		return f.lose(err)
	}

	// The transaction holds a lock until it ends, which it does not if this panics.
	ended := false
	defer func() {
		if !ended {
			f.poisoned.Store(true)
		}
	}()

	result := f.change(tx, change)
	ended = true

	return result
}

// change ends tx in one way or the other.
func (f *boltFile) change(tx *bbolt.Tx, change func(*bbolt.Bucket) (bool, error)) answer {
	bucket := tx.Bucket(f.bucket)
	if bucket == nil || int64(tx.ID()) != f.lastTx.Load()+1 {
		return f.lose(errors.Join(errAnother, tx.Rollback()))
	}

	changed, err := change(bucket)
	if err == nil && changed {
		err = f.unchanged() // it took a while
	}

	if err != nil {
		return f.lose(errors.Join(err, tx.Rollback()))
	}

	if !changed {
		return answer{err: tx.Rollback()}
	}

	return f.seals(tx)
}

// seals commits tx and takes the file's new looks down. Were the file damaged in
// just these milliseconds, the damage would be taken for our own write; what it does
// to the pages is found when they are read.
func (f *boltFile) seals(tx *bbolt.Tx) answer {
	number := int64(tx.ID()) // Commit clears it

	f.seal.gen.Add(1)

	failed := tx.Commit() // has rolled back if it failed, as on a full disk
	if failed == nil {
		f.lastTx.Store(number)
	}

	looks := f.reseal()

	f.seal.gen.Add(1)

	if looks != nil {
		return f.lose(looks)
	}

	return answer{err: failed}
}
