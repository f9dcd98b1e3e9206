package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"zotregistry.io/zot/pkg/storage"
)

// A quiet repository gets a checkpoint, and with it a file of history, after each push. So
// that they do not become too many, small ones are made one from time to time.
const (
	mergeHistoryAt  = 16      // so many next to each other
	maxHistoryMerge = 4 << 20 // bytes of all of them
)

// DropHistory removes the files that were last written before older, oldest first, and
// makes one of several small ones.
func (l *repoLog) DropHistory(ctx context.Context, older time.Time) error {
	l.historyMu.Lock()
	defer l.historyMu.Unlock()

	files, doubled, err := l.historyFiles()
	if err == nil {
		err = l.removeHistory(doubled)
	}

	if err == nil {
		files, err = l.dropOlder(files, older)
	}

	for _, group := range groupHistory(files) {
		if err = errors.Join(err, ctx.Err()); err == nil {
			err = l.mergeHistory(ctx, group)
		}
	}

	if err != nil {
		return fmt.Errorf("drop history of log %s: %w", l.repo, err)
	}

	return nil
}

// dropOlder removes the first files, and returns the others, with size and time.
func (l *repoLog) dropOlder(files []historyFile, older time.Time) (kept []historyFile, err error) {
	dropped := 0

	for i := range files {
		info, err := os.Lstat(l.journalPath(files[i].name))
		if err != nil {
			return nil, err
		}

		files[i].size, files[i].written = info.Size(), info.ModTime()

		if dropped == i && info.ModTime().Before(older) {
			dropped++
		}
	}

	return files[dropped:], l.removeHistory(files[:dropped])
}

// removeHistory removes files in order.
func (l *repoLog) removeHistory(files []historyFile) error {
	l.mu.Lock()
	defer l.mu.Unlock()

	paths := make([]string, len(files))
	for i, file := range files {
		paths[i] = l.journalPath(file.name)
	}

	return removeAll(paths)
}

// groupHistory returns the files that should be one each.
func groupHistory(files []historyFile) [][]historyFile {
	var (
		groups [][]historyFile
		begin  int
		size   int64
	)

	for i, file := range files {
		if size += file.size; size > maxHistoryMerge {
			groups = append(groups, files[begin:i])
			begin, size = i, file.size
		}
	}

	groups = append(groups, files[begin:])

	var large [][]historyFile

	for _, group := range groups {
		if len(group) >= mergeHistoryAt {
			large = append(large, group)
		}
	}

	return large
}

// mergeHistory makes one file of several. It is on disk before they go; a crash leaves it
// and some of them, which are then ignored.
func (l *repoLog) mergeHistory(ctx context.Context, group []historyFile) error {
	first, last := group[0], group[len(group)-1]

	body, err := l.concatHistory(ctx, group)
	if err != nil {
		return err
	}

	temp, err := l.root.writeTemp(whole(body))
	if err != nil {
		return err
	}

	l.root.flush.wrote(temp)

	if err := errors.Join(os.Chtimes(temp, last.written, last.written), l.root.flush.flush()); err != nil {
		return errors.Join(err, os.Remove(temp))
	}

	if err := l.placeHistory(temp, historyName(first.first, last.last)); err != nil {
		return err
	}

	if err := l.root.flush.flush(); err != nil {
		return err
	}

	return l.removeHistory(group)
}

func (l *repoLog) placeHistory(temp, name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()

	return l.root.place(temp, l.journalPath(name))
}

// concatHistory returns a journal with the records of files that follow each other. What
// was void is not in it.
func (l *repoLog) concatHistory(ctx context.Context, group []historyFile) ([]byte, error) {
	begin, err := l.readHistory(group[0].name)
	if err != nil {
		return nil, err
	}

	var records []storage.Record

	for record, err := range l.History(ctx, group[len(group)-1].last+1) {
		if err != nil {
			return nil, err
		}

		if record.Seq < group[0].first {
			break
		}

		records = append(records, record)
	}

	body, sum, err := newHeader(begin.after)
	if err != nil {
		return nil, err
	}

	for _, record := range slices.Backward(records) {
		payload, err := storage.EncodeRecords([]storage.Record{record})
		if err != nil {
			return nil, err
		}

		var line []byte

		line, sum = newFrame(sum, payload)
		body = append(body, line...)
	}

	return body, nil
}
