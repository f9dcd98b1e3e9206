package storagetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"

	"zotregistry.io/zot/pkg/storage"
)

func (l *memLog) indexKey() string { return l.prefix + "index.json" }

func (l *memLog) Checkpoint(ctx context.Context, seq uint64, state, index func(io.Writer) error) error {
	var body, projected bytes.Buffer
	if err := state(&body); err != nil {
		return fmt.Errorf("memory: checkpoint %s%d: %w", l.prefix, seq, err)
	}

	if err := index(&projected); err != nil {
		return fmt.Errorf("memory: checkpoint %s%d: %w", l.prefix, seq, err)
	}

	journal, leave, err := l.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()

	if old := l.d.m.objects[l.indexKey()]; old != nil && old != l.index && old != journal.index {
		return fmt.Errorf("memory: checkpoint %s%d: %w: another program wrote index.json",
			l.prefix, seq, storage.ErrConflict)
	}

	if !journal.replace(memCheckpoint{seq, body.Bytes()}) {
		return nil
	}

	journal.index = &memObject{body: projected.Bytes(), modified: l.d.m.Now()}
	l.d.m.set(l.indexKey(), journal.index)
	l.d.m.settle(l.indexKey())
	l.index = journal.index

	return nil
}

// replace makes c the newest checkpoint, and says whether it did: one of a lower
// number never replaces one of a higher. The one before is kept.
func (j *memJournal) replace(c memCheckpoint) bool {
	kept := j.checkpoints
	if n := len(kept); n > 0 {
		switch newest := kept[n-1].seq; {
		case newest > c.seq:
			return false
		case newest == c.seq:
			kept = kept[:n-1]
		}
	}

	j.checkpoints = append(slices.Clone(kept[max(0, len(kept)-1):]), c)

	j.trim(c.seq)

	return true
}

// trim makes history of the batches up to record seq.
func (j *memJournal) trim(seq uint64) {
	for len(j.batches) > 0 && j.batches[0].last <= seq {
		records, err := storage.DecodeRecords(j.batches[0].line)
		if err != nil { // we have encoded them
			panic(err)
		}

		j.history = append(j.history, records...)
		j.trimmed = j.batches[0].last
		j.batches = j.batches[1:]
	}
}

func (l *memLog) OpenIndex(ctx context.Context) (storage.Index, error) {
	_, leave, err := l.enter(ctx)
	if err != nil {
		return storage.Index{}, err
	}
	defer leave()

	object := l.d.m.objects[l.indexKey()]
	if object == nil {
		return storage.Index{}, missing(l.indexKey())
	}

	return storage.Index{ReadCloser: io.NopCloser(bytes.NewReader(object.body)), Version: object}, nil
}

func (l *memLog) TookIndex(version any) {
	l.mu.Lock()
	defer l.mu.Unlock()

	l.index, _ = version.(*memObject) // nil: there is none
}

func (l *memLog) OpenCheckpoint(ctx context.Context, seq uint64) (io.ReadCloser, error) {
	journal, leave, err := l.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()

	for _, c := range journal.checkpoints {
		if c.seq == seq {
			return io.NopCloser(bytes.NewReader(c.body)), nil
		}
	}

	return nil, missing(fmt.Sprintf("%scheckpoint %d", l.prefix, seq))
}

// DamageCheckpoints flips a byte in each checkpoint of a log.
func (m *Memory) DamageCheckpoints(prefix string) {
	m.mu.Lock()
	defer m.mu.Unlock()

	for i, checkpoint := range m.logs[prefix].checkpoints {
		body := bytes.Clone(checkpoint.body)
		body[len(body)/2] ^= 1
		m.logs[prefix].checkpoints[i].body = body
	}
}
