package local

import (
	"bytes"
	"fmt"
	"slices"

	"zotregistry.io/zot/pkg/storage"
)

// place names a batch: the file that it is in, and its sum. The sum of a file's
// first line stands for the place before its first batch.
type place struct{ file, sum string }

// start is the place before everything.
func start() place { return place{sum: noSum} }

// journal is a journal file as it was read.
type journal struct {
	name    string
	after   place // what it goes on behind
	sum     string
	batches []batch
	end     int64 // offset behind the last line that is whole
	bad     fault
}

type batch struct {
	sum     string
	payload []byte
	end     int64 // offset behind it
}

// fault is what is wrong at a journal's end.
type fault int

const (
	sound   fault = iota
	torn          // the last line is not whole: a crash cut it short
	damaged       // a line is not whole or not in its place, and whole ones follow
)

// headless says that not even the first line is whole.
func (j *journal) headless() bool { return j.sum == "" }

// parseJournal reads a journal file up to the first line that is not whole.
//
// Errors: storage.ErrFormat.
func parseJournal(name string, data []byte) (*journal, error) {
	j := &journal{name: name}

	line, rest, whole := bytes.Cut(data, []byte("\n"))

	first, head, ok, err := parseHeader(line)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}

	if !whole || !ok {
		j.bad = blame(rest)

		return j, nil
	}

	j.after = place{head.Before, first.before}
	j.sum = first.sum
	j.end = int64(len(line)) + 1
	j.scan(rest)

	return j, nil
}

// scan reads the lines behind the first.
func (j *journal) scan(data []byte) {
	before := j.sum

	for len(data) > 0 {
		line, rest, whole := bytes.Cut(data, []byte("\n"))
		f, ok := parseFrame(line)

		switch {
		case !whole || !ok:
			j.bad = blame(rest)

			return
		case f.before != before: // a line between is missing
			j.bad = damaged

			return
		}

		j.end += int64(len(line)) + 1
		j.batches = append(j.batches, batch{f.sum, f.payload, j.end})
		before, data = f.sum, rest
	}
}

// blame judges a line that is not whole by what follows it. A batch is written only
// after the one before it was flushed, so a crash leaves nothing whole behind one
// that is not.
func blame(rest []byte) fault {
	for len(rest) > 0 {
		line, next, whole := bytes.Cut(rest, []byte("\n"))
		if _, ok := parseFrame(line); ok && whole {
			return damaged
		}

		rest = next
	}

	return torn
}

// cutBehind drops all behind a batch. What is there was never acknowledged.
func (j *journal) cutBehind(sum string) error {
	i := slices.IndexFunc(j.batches, func(b batch) bool { return b.sum == sum })
	if i < 0 {
		return fmt.Errorf("%w: %s: no whole batch %s up to offset %d, where the next journal goes on",
			storage.ErrDamaged, j.name, sum, j.end)
	}

	if j.bad != sound || i+1 < len(j.batches) {
		j.bad = torn
	}

	j.batches, j.end = j.batches[:i+1], j.batches[i].end

	return nil
}

// settle decides what counts in journals, which are in order. The first line of each
// says where the one before it ends. A journal that did not get as far as a whole
// first line counts for nothing, unless the next one names it.
//
// A journal that names one that is not there follows one that a checkpoint covered.
// If it does not, the sequence numbers have a gap, which the engine finds.
//
// Errors: storage.ErrDamaged, with file and offset.
func settle(journals []*journal) error {
	var (
		end place
		err error
	)

	for _, j := range slices.Backward(journals) {
		if end, err = j.settle(end); err != nil {
			return err
		}
	}

	return nil
}

// settle does so for one, that ends where the next one that counts has said, and returns
// where the one before it ends.
func (j *journal) settle(end place) (place, error) {
	switch {
	case end.file == j.name:
		return j.after, j.cutBehind(end.sum)
	case j.bad == damaged:
		return place{}, fmt.Errorf("%w: %s: offset %d is not what was written there, and whole batches follow",
			storage.ErrDamaged, j.name, j.end)
	case j.headless():
		return end, nil
	}

	return j.after, nil
}

// decode returns the records of a batch.
//
// Errors: storage.ErrDamaged, storage.ErrFormat.
func (b batch) decode() ([]storage.Record, error) { return storage.DecodeRecords(b.payload) }
