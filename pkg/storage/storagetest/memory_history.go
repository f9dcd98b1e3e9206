package storagetest

import (
	"context"
	"iter"
	"slices"
	"time"

	"zotregistry.io/zot/pkg/storage"
)

// History yields what was there when the loop starts.
func (l *memLog) History(ctx context.Context, before uint64) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		records, err := l.allRecords(ctx)
		if err != nil {
			yield(storage.Record{}, err)

			return
		}

		for _, record := range slices.Backward(records) {
			if record.Seq < before && !yield(record, nil) {
				return
			}
		}
	}
}

// allRecords returns all that are left, in order.
func (l *memLog) allRecords(ctx context.Context) ([]storage.Record, error) {
	journal, leave, err := l.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()

	behind, err := journal.behind(0)

	return append(slices.Clone(journal.history), behind...), err
}

// DropHistory drops record by record.
func (l *memLog) DropHistory(ctx context.Context, older time.Time) error {
	journal, leave, err := l.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()

	for len(journal.history) > 0 && journal.history[0].Time.Before(older) {
		journal.history = journal.history[1:]
	}

	return nil
}
