package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"zotregistry.io/zot/pkg/storage"
)

// Append writes one line. A batch is written only after the one before it was
// flushed: one whose flush failed, and that comes again, goes to a new journal,
// whose first line leaves the old batch out, whatever of it reached the disk.
func (l *repoLog) Append(ctx context.Context, records []storage.Record) error {
	if len(records) == 0 {
		return nil
	}

	payload, err := storage.EncodeRecords(records)
	if err := errors.Join(err, ctx.Err()); err != nil {
		return err
	}

	l.mu.Lock()
	defer l.mu.Unlock()

	first, last := bounds(records)
	if err := l.void(first); err != nil {
		return fmt.Errorf("append to log %s: %w", l.repo, err)
	}

	next, err := l.write(first, payload)
	if isFull(err) && makeRoom(records) {
		next, err = l.writeFromReserve(next, first, payload, err)
	}

	if err != nil {
		return errors.Join(fmt.Errorf("append to log %s: %w", l.repo, err), l.withdraw(next))
	}

	next.first, next.last = first, last
	l.accept(next)

	return nil
}

// void drops the last batch from what counts, if its numbers are used again. None
// before it can be: it was flushed, or the last one would not have been written.
func (l *repoLog) void(first uint64) error {
	switch {
	case first <= l.covered():
		return fmt.Errorf("record %d is in checkpoint %d", first, l.covered())
	case first > l.tail.last:
		return nil
	case first > l.tail.first: // the rest of the batch still counts: see take
		l.renew = true

		return l.closeFile()
	case first < l.tail.first || l.before == nil:
		return fmt.Errorf("record %d was appended before record %d", first, l.tail.last)
	}

	voided := l.tail.file
	l.tail, l.before, l.renew = *l.before, nil, true

	if n := len(l.journals); voided == l.tail.file {
		l.journals[n-1].last = l.tail.last
	} else {
		l.journals = l.journals[:n-1] // begin replaces it, since its name is the same
	}

	return l.closeFile()
}

// covered is the number of the newest checkpoint.
func (l *repoLog) covered() uint64 {
	if n := len(l.checkpoints); n > 0 {
		return l.checkpoints[n-1]
	}

	return 0
}

// write writes a batch behind tail, and returns where the log would end with it.
func (l *repoLog) write(first uint64, payload []byte) (mark, error) {
	if l.renew {
		return l.begin(first, payload)
	}

	if err := l.open(); err != nil {
		return mark{}, err
	}

	return l.extend(payload)
}

// writeFromReserve writes a batch for which there was no room, of which next may have been
// written.
func (l *repoLog) writeFromReserve(next mark, first uint64, payload []byte, full error) (mark, error) {
	for isFull(full) {
		spent, err := l.root.spendReserve()
		if err = errors.Join(err, l.withdraw(next)); err != nil || !spent {
			return mark{}, errors.Join(full, err)
		}

		next, full = l.write(first, payload)
	}

	return next, full
}

// open opens the journal to append to, which Load has read.
func (l *repoLog) open() error {
	if l.file != nil {
		return nil
	}

	file, err := openRegular(l.journalPath(l.tail.file), os.O_WRONLY|os.O_APPEND)
	if gone(err) {
		return fmt.Errorf("%w: %w", storage.ErrLogLost, err)
	}

	if err != nil {
		return err
	}

	l.file = file

	return nil
}

// extend adds a batch to the journal, if that is as we left it: cut short or deleted
// by someone, it would swallow the batch.
func (l *repoLog) extend(payload []byte) (mark, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(l.file.Fd()), &stat); err != nil {
		return mark{}, err
	}

	if stat.Size != l.tail.size || stat.Nlink == 0 {
		return mark{}, fmt.Errorf("%w: %s is %d bytes long and has %d names; it was %d bytes long",
			storage.ErrLogLost, l.tail.file, stat.Size, stat.Nlink, l.tail.size)
	}

	line, sum := newFrame(l.tail.sum, payload)
	next := mark{place: place{l.tail.file, sum}, size: l.tail.size + int64(len(line))}

	_, err := l.file.Write(line)
	l.root.flush.wrote(l.journalPath(l.tail.file))

	return next, err
}

// begin writes a journal whose first line names the last batch that counts. A file
// of that name can only hold a batch that is void: it is replaced.
func (l *repoLog) begin(first uint64, payload []byte) (mark, error) {
	head, sum, err := newHeader(l.tail.place)
	if err != nil {
		return mark{}, err
	}

	line, sum := newFrame(sum, payload)
	next := mark{
		place: place{formatName(journalPrefix, first, journalSuffix), sum},
		size:  int64(len(head) + len(line)),
	}

	if err := errors.Join(l.closeFile(), l.writeLayout()); err != nil {
		return mark{}, err
	}

	if l.file, err = l.root.createTemp(); err != nil {
		return mark{}, err
	}

	if _, err := l.file.Write(append(head, line...)); err != nil {
		return mark{}, errors.Join(err, os.Remove(l.file.Name()))
	}

	return next, l.root.place(l.file.Name(), l.journalPath(next.file))
}

// accept makes next the end of the log.
func (l *repoLog) accept(next mark) {
	n := len(l.journals)
	if n == 0 || l.journals[n-1].name != next.file {
		l.journals = append(l.journals, journalFile{name: next.file})
		n++
	}

	old := l.tail
	l.journals[n-1].last = next.last
	l.tail, l.before, l.renew = next, &old, false
}

// withdraw removes what was written of a batch, as far as that works. It need not:
// see Append.
func (l *repoLog) withdraw(next mark) error {
	l.renew = true
	err := l.closeFile()

	switch next.file {
	case "":
		return err
	case l.tail.file:
		return errors.Join(err, os.Truncate(l.journalPath(l.tail.file), l.tail.size))
	}

	l.journals = slices.DeleteFunc(l.journals, func(j journalFile) bool { return j.name == next.file })

	return errors.Join(err, removeAll([]string{l.journalPath(next.file)}))
}

// bounds returns the numbers of the first and the last record.
func bounds(records []storage.Record) (first, last uint64) {
	if len(records) == 0 {
		return 0, 0
	}

	return records[0].Seq, records[len(records)-1].Seq
}
