package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"
	"time"

	"zotregistry.io/zot/pkg/storage"
)

// Journals that a checkpoint covers are history: they get another name, and Load does not
// read them any more. What counts in them is decided as ever, each by the one behind it.

// historyFile is a file with records that a checkpoint covers.
type historyFile struct {
	name        string
	first, last uint64 // of its records

	size    int64     // as dropOlder has seen it
	written time.Time // for the last time
}

// historyPrefix is followed by the numbers of the first and the last record.
const historyPrefix = "history-"

func historyName(first, last uint64) string {
	return fmt.Sprintf("%s%020d-%020d%s", historyPrefix, first, last, journalSuffix)
}

func parseHistoryName(name string) (historyFile, bool) {
	var first, last uint64

	_, err := fmt.Sscanf(name, historyPrefix+"%d-%d"+journalSuffix, &first, &last)

	return historyFile{name: name, first: first, last: last}, err == nil && name == historyName(first, last)
}

// putAside makes history of a journal. A crash leaves it under one name or the other. One
// without a record that counts is removed.
func (l *repoLog) putAside(j journalFile) error {
	first, ok := parseName(j.name, journalPrefix, journalSuffix)
	if !ok || j.last < first {
		return removeAll([]string{l.journalPath(j.name)})
	}

	err := os.Rename(l.journalPath(j.name), l.journalPath(historyName(first, j.last)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}

	return nil
}

// historyFiles lists the files of the history in order, without those whose records another
// one has, too: a crash has left them.
func (l *repoLog) historyFiles() (files, doubled []historyFile, err error) {
	entries, err := os.ReadDir(l.dir)
	if err != nil && !gone(err) {
		return nil, nil, err
	}

	var all []historyFile

	for _, entry := range entries {
		file, ok := parseHistoryName(entry.Name())
		if !ok {
			continue
		}

		if err := checkEntry(l.dir, entry); err != nil {
			return nil, nil, err
		}

		all = append(all, file)
	}

	slices.SortFunc(all, func(a, b historyFile) int { return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(b.last, a.last)) })

	for _, file := range all {
		if n := len(files); n > 0 && file.last <= files[n-1].last {
			doubled = append(doubled, file)
		} else {
			files = append(files, file)
		}
	}

	return files, doubled, nil
}

// History reads files backwards, each when it is needed. One that has got another name
// meanwhile is looked for again.
func (l *repoLog) History(ctx context.Context, before uint64) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		h := history{log: l, before: before, yield: yield}

		err := h.read(ctx)
		for try := 0; gone(err) && try < maxRenamed; try++ {
			err = h.read(ctx)
		}

		if err != nil && !errors.Is(err, errLeft) {
			yield(storage.Record{}, fmt.Errorf("history of log %s: %w", l.repo, err))
		}
	}
}

// maxRenamed is how often files may get other names while one loop reads them.
const maxRenamed = 10

// errLeft says that the loop over a history was left.
var errLeft = errors.New("left")

// history is one loop over a log's history.
type history struct {
	log    *repoLog
	before uint64 // what comes next has a lower number
	yield  func(storage.Record, error) bool
}

// read yields what is left to be yielded.
func (h *history) read(ctx context.Context) error {
	names, err := h.log.historyNames(h.before)
	if err != nil {
		return err
	}

	var end place

	for _, name := range slices.Backward(names) {
		if err := ctx.Err(); err != nil {
			return err
		}

		if end, err = h.file(name, end); err != nil {
			return err
		}
	}

	return nil
}

// historyNames lists the files that have records below number before, in order, and the one
// behind them, which says where they end.
func (l *repoLog) historyNames(before uint64) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()

	files, _, err := l.historyFiles()
	if err != nil {
		return nil, err
	}

	var names []string
	for _, file := range files {
		names = append(names, file.name)
	}

	journals, _, err := l.names()
	names = append(names, journals...)

	for n := len(names); n > 1 && firstOf(names[n-2]) >= before; n = len(names) {
		names = names[:n-1]
	}

	return names, err
}

// firstOf is the number of the first record of a file.
func firstOf(name string) uint64 {
	if file, ok := parseHistoryName(name); ok {
		return file.first
	}

	first, _ := parseName(name, journalPrefix, journalSuffix)

	return first
}

// file yields the records of a file that ends where the one behind it says, and returns where
// the one before ends. A number that was used again makes void what had it before, so
// each record has to have a lower one than that before.
func (h *history) file(name string, end place) (place, error) {
	j, err := h.log.readHistory(name)
	if err != nil {
		return end, err
	}

	if end, err = j.settle(end); err != nil {
		return end, err
	}

	for _, batch := range slices.Backward(j.batches) {
		records, err := batch.decode()
		if err != nil {
			return end, fmt.Errorf("%s: batch before offset %d: %w", name, batch.end, err)
		}

		for _, record := range slices.Backward(records) {
			if record.Seq >= h.before {
				continue
			}

			h.before = record.Seq
			if !h.yield(record, nil) {
				return end, errLeft
			}
		}
	}

	return end, nil
}

// readHistory reads a file under the name that the journal had: others know it by that.
func (l *repoLog) readHistory(name string) (*journal, error) {
	data, err := readRegular(l.journalPath(name))
	if err != nil {
		return nil, err
	}

	if strings.HasPrefix(name, historyPrefix) {
		name = formatName(journalPrefix, firstOf(name), journalSuffix)
	}

	return parseJournal(name, data)
}
