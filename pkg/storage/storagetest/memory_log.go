package storagetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"zotregistry.io/zot/pkg/storage"
)

// memJournal is what the logs of all replicas share.
type memJournal struct {
	batches     []memBatch // in order of their numbers
	trimmed     uint64     // number of the newest record that a checkpoint dropped
	withdrawn   int        // how often a batch that was there became void
	checkpoints []memCheckpoint
	history     []storage.Record // that checkpoints have dropped
	index       *memObject       // the index.json that zot itself wrote
}

type memBatch struct {
	writer      *memLog
	line        []byte // EncodeRecords
	first, last uint64
	durable     bool
}

type memCheckpoint struct {
	seq  uint64
	body []byte
}

// ListLogs yields the prefixes as they were when the loop starts.
func (d *memDriver) ListLogs(ctx context.Context) iter.Seq2[storage.LogInfo, error] {
	return func(yield func(storage.LogInfo, error) bool) {
		logs, err := d.logs(ctx)
		if err != nil {
			yield(storage.LogInfo{}, err)

			return
		}

		for _, prefix := range sortedKeys(logs) {
			if !yield(storage.LogInfo{Prefix: prefix, Behind: logs[prefix]}, nil) {
				return
			}
		}
	}
}

// logs returns the prefixes, and which of them have records behind their checkpoint.
func (d *memDriver) logs(ctx context.Context) (map[string]bool, error) {
	unlock, err := d.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()

	found := map[string]bool{}

	for prefix, journal := range d.m.logs {
		if len(journal.batches)+len(journal.checkpoints) > 0 {
			found[prefix] = len(journal.batches) > 0
		}
	}

	for key := range d.m.objects {
		repo, ok := strings.CutSuffix(key, "/index.json")
		if _, known := found[repo+"/"]; ok && !known {
			found[repo+"/"] = false
		}
	}

	return found, nil
}

func (d *memDriver) OpenLog(ctx context.Context, prefix string) (storage.Log, error) {
	unlock, err := d.enter(ctx, strings.TrimSuffix(prefix, "/"))
	if err != nil {
		return nil, err
	}
	defer unlock()

	return &memLog{d: d, prefix: prefix}, nil
}

// memLog is one replica's view of a journal.
type memLog struct {
	d      *memDriver
	prefix string

	mu        sync.Mutex // guards all below; taken before the content's
	withdrawn int        // the journal's, when we last looked
	index     *memObject // the index.json that was taken in
}

// enter locks both the log and the content, and finds the journal.
func (l *memLog) enter(ctx context.Context) (journal *memJournal, leave func(), err error) {
	l.mu.Lock()

	unlock, err := l.d.enter(ctx)
	if err != nil {
		l.mu.Unlock()

		return nil, nil, err
	}

	journal = l.d.m.logs[l.prefix]
	if journal == nil {
		journal = &memJournal{}
		l.d.m.logs[l.prefix] = journal
	}

	return journal, func() { unlock(); l.mu.Unlock() }, nil
}

func (l *memLog) Load(ctx context.Context) (storage.Loaded, error) {
	journal, leave, err := l.enter(ctx)
	if err != nil {
		return storage.Loaded{}, err
	}
	defer leave()

	var loaded storage.Loaded
	if loaded.Tail, err = journal.behind(0); err != nil {
		return storage.Loaded{}, err
	}

	if n := len(journal.checkpoints); n > 0 {
		loaded.Checkpoint = io.NopCloser(bytes.NewReader(journal.checkpoints[n-1].body))
		loaded.Covered = journal.checkpoints[n-1].seq
	}

	l.withdrawn = journal.withdrawn

	return loaded, nil
}

func (l *memLog) Append(ctx context.Context, records []storage.Record) error {
	line, err := storage.EncodeRecords(records)
	if err != nil || len(records) == 0 {
		return err
	}

	journal, leave, err := l.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()

	batch := memBatch{writer: l, line: line, first: records[0].Seq, last: records[len(records)-1].Seq}

	if l.withdrawn != journal.withdrawn || journal.taken(batch) {
		return fmt.Errorf("memory: log %s: record %d: %w", l.prefix, batch.first, storage.ErrConflict)
	}

	if journal.void(batch.first) {
		l.withdrawn = journal.withdrawn
	}

	journal.batches = append(journal.batches, batch)

	return nil
}

// taken says whether another process has used the number of batch.
func (j *memJournal) taken(batch memBatch) bool {
	if batch.first <= j.trimmed {
		return true
	}

	return slices.ContainsFunc(j.batches, func(b memBatch) bool {
		return b.last >= batch.first && b.writer != batch.writer
	})
}

// void drops the batches from the one with record seq on, and says whether there
// were any.
func (j *memJournal) void(seq uint64) bool {
	before := len(j.batches)
	j.batches = slices.DeleteFunc(j.batches, func(b memBatch) bool { return b.last >= seq })

	if len(j.batches) == before {
		return false
	}

	j.withdrawn++

	return true
}

// Refresh leaves out what this log itself appended, unless others have built on it:
// it may not be durable yet.
func (l *memLog) Refresh(ctx context.Context, seq uint64, _ time.Time) (storage.Changes, error) {
	journal, leave, err := l.enter(ctx)
	if err != nil {
		return storage.Changes{}, err
	}
	defer leave()

	var changes storage.Changes

	index := l.d.m.objects[l.indexKey()]
	changes.Index = index != l.index && index != journal.index

	switch {
	case seq < journal.trimmed || l.withdrawn != journal.withdrawn:
		changes.Reload = true
	case slices.ContainsFunc(journal.batches, func(b memBatch) bool { return b.last > seq && b.writer != l }):
		changes.Records, err = journal.behind(seq)
	}

	return changes, err
}

// behind returns the records of the batches that reach further than seq.
func (j *memJournal) behind(seq uint64) ([]storage.Record, error) {
	var all []storage.Record

	for _, batch := range j.batches {
		if batch.last <= seq {
			continue
		}

		records, err := storage.DecodeRecords(batch.line)
		if err != nil {
			return nil, err
		}

		all = append(all, records...)
	}

	return slices.DeleteFunc(all, func(r storage.Record) bool { return r.Seq <= seq }), nil
}

func (l *memLog) Close() error { return nil }

// settle makes all batches durable.
func (j *memJournal) settle() {
	for i := range j.batches {
		j.batches[i].durable = true
	}
}

// crash drops the batches that are not durable, and all behind them.
func (j *memJournal) crash() {
	if i := slices.IndexFunc(j.batches, func(b memBatch) bool { return !b.durable }); i >= 0 {
		j.batches = j.batches[:i]
	}
}
