package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"zotregistry.io/zot/pkg/storage"
)

// What Inspect finds in a directory.
const (
	kindJournalDamaged = "journal-damaged"
	kindJournalTorn    = "journal-torn"
	kindHistoryDamaged = "history-damaged"
	kindHistoryGap     = "history-gap"
	kindStray          = "stray"
)

// Inspect reads all journals and all files of history, and says of each whether it counts.
// What a crash leaves is no fault.
func (l *repoLog) Inspect(ctx context.Context, found func(storage.Fault)) error {
	l.historyMu.Lock()
	defer l.historyMu.Unlock()

	l.mu.Lock()
	defer l.mu.Unlock()

	if err := l.inspectNames(found); err != nil {
		return fmt.Errorf("inspect log %s: %w", l.repo, err)
	}

	files, err := l.logFiles()
	if err != nil {
		return fmt.Errorf("inspect log %s: %w", l.repo, err)
	}

	var end place

	for i, name := range slices.Backward(files) {
		if err := ctx.Err(); err != nil {
			return err
		}

		j, err := l.readHistory(name)
		if gone(err) {
			continue
		}

		if err == nil {
			end, err = l.inspectFile(name, j, end, i == len(files)-1, found)
		} else if errors.Is(err, storage.ErrFormat) {
			return err
		} else {
			end = place{}
		}

		if err != nil {
			found(l.damage(name, err))
		}
	}

	return l.inspectGaps(files, found)
}

// key is that of a file of the log.
func (l *repoLog) key(name string) string {
	return strings.TrimPrefix(l.journalPath(name), l.root.path+"/")
}

// damage is that a journal, or a file of history, is damaged.
func (l *repoLog) damage(name string, why error) storage.Fault {
	fault := storage.Fault{
		Severity: storage.Problem, Kind: kindJournalDamaged, File: l.key(name), Text: l.key(name) + ": " + why.Error(),
		Aside: true, Anew: true, Rotten: true,
	}
	if strings.HasPrefix(name, historyPrefix) { // no load reads it
		fault.Kind, fault.Anew, fault.Rotten = kindHistoryDamaged, false, false
	}

	return fault
}

// inspectNames tells of files that are nothing of a log.
func (l *repoLog) inspectNames(found func(storage.Fault)) error {
	entries, err := os.ReadDir(l.dir)
	if err != nil && !gone(err) {
		return err
	}

	for _, entry := range entries {
		_, isJournal := parseName(entry.Name(), journalPrefix, journalSuffix)
		_, isCheckpoint := parseName(entry.Name(), checkpointPrefix, checkpointSuffix)
		_, isHistory := parseHistoryName(entry.Name())

		if !isJournal && !isCheckpoint && !isHistory {
			found(storage.Fault{
				Severity: storage.Notice, Kind: kindStray, File: l.key(entry.Name()), Text: l.key(entry.Name()) + " is nothing of zot's",
			})
		}
	}

	return nil
}

// logFiles lists the names of history and journals, in order.
func (l *repoLog) logFiles() ([]string, error) {
	history, _, err := l.historyFiles()
	if err != nil {
		return nil, err
	}

	journals, _, err := l.names()

	names := make([]string, 0, len(history)+len(journals))
	for _, file := range history {
		names = append(names, file.name)
	}

	return append(names, journals...), err
}

// inspectFile looks at one file, that ends where the one behind it has said, and returns
// where the one before it ends.
func (l *repoLog) inspectFile(name string, j *journal, end place, last bool, found func(storage.Fault)) (place, error) {
	bad := j.bad

	before, err := j.settle(end)
	if err != nil {
		return place{}, err
	}

	var reached uint64

	for _, batch := range j.batches {
		records, err := batch.decode()
		if err != nil {
			return place{}, fmt.Errorf("batch before offset %d: %w", batch.end, err)
		}

		for _, record := range records {
			reached = record.Seq
		}
	}

	if file, ok := parseHistoryName(name); ok && reached < file.last { // cut while it was in use
		return place{}, fmt.Errorf("%w: the records end with %d", storage.ErrDamaged, reached)
	}

	if last && bad == torn && end == (place{}) {
		found(storage.Fault{
			Severity: storage.Notice, Kind: kindJournalTorn, File: l.key(name),
			Text: fmt.Sprintf("%s: a write at offset %d was broken off; it counts for nothing", l.key(name), j.end),
		})
	}

	return before, nil
}

// inspectGaps tells of records that the history lacks between others.
func (l *repoLog) inspectGaps(files []string, found func(storage.Fault)) error {
	var reached uint64

	for _, name := range files {
		if first := firstOf(name); reached > 0 && first > reached+1 && strings.HasPrefix(name, historyPrefix) {
			found(storage.Fault{
				Severity: storage.Notice, Kind: kindHistoryGap, File: l.key(name),
				Text: fmt.Sprintf("%s: the history has no records %d to %d", l.repo, reached+1, first-1),
			})
		}

		if file, ok := parseHistoryName(name); ok {
			reached = file.last
		}
	}

	return nil
}

// Checkpoints lists the companion files that are there.
func (l *repoLog) Checkpoints(context.Context) ([]storage.CheckpointInfo, error) {
	_, seqs, err := l.names()
	if err != nil {
		return nil, fmt.Errorf("list checkpoints of %s: %w", l.repo, err)
	}

	infos := make([]storage.CheckpointInfo, len(seqs))
	for i, seq := range seqs {
		infos[i] = storage.CheckpointInfo{Seq: seq, Key: l.key(formatName(checkpointPrefix, seq, checkpointSuffix))}
	}

	slices.SortFunc(infos, func(a, b storage.CheckpointInfo) int { return cmp.Compare(b.Seq, a.Seq) })

	return infos, nil
}

// OpenKept opens a companion file.
func (l *repoLog) OpenKept(ctx context.Context, info storage.CheckpointInfo) (io.ReadCloser, error) {
	return l.OpenCheckpoint(ctx, info.Seq)
}
