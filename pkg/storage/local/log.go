package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"zotregistry.io/zot/pkg/storage"
)

// logDir is the directory of a repository that holds its journals and checkpoints.
const logDir = ".zot"

// repoLog is the storage.Log of one repository. It holds at most one open file, the
// journal that it appends to.
//
// The lock on the root keeps other zots away, so there is never a conflict and
// nothing to tell of but index.json.
type repoLog struct {
	root *Root
	repo string // directory of the repository
	dir  string // its logDir

	mu          sync.Mutex    // guards what follows, and names of history; held while a batch is written
	journals    []journalFile // on disk, in order
	checkpoints []uint64      // on disk, in order
	tail        mark          // behind the last batch
	before      *mark         // behind the one before it, if we wrote both
	renew       bool          // append to a new journal, not to the file of tail
	file        *os.File      // the file of tail; nil = not open

	historyMu sync.Mutex // one change of the history at a time

	asOf atomic.Int64 // when index.json was last seen to be no news: nanoseconds since the root was opened; 0 = never

	indexMu sync.Mutex // guards what follows
	seen    identity   // index.json as we last saw or wrote it
	coming  *identity  // what Checkpoint is about to put there
}

// mark is a position in the log, behind a batch.
type mark struct {
	place
	size        int64  // of its file up to there
	first, last uint64 // records of the batch; 0 = none
}

// journalFile is a journal and the last record in it that counts.
type journalFile struct {
	name string
	last uint64
}

// OpenLog opens the log of the repository whose keys start with prefix.
func (r *Root) OpenLog(_ context.Context, prefix string) (storage.Log, error) {
	repo, err := r.file(strings.TrimSuffix(prefix, "/"))
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}

	if err := r.checkDirs(prefix + logDir + "/"); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}

	return &repoLog{root: r, repo: repo, dir: repo + "/" + logDir, tail: mark{place: start()}, renew: true}, nil
}

func (l *repoLog) journalPath(name string) string { return l.dir + "/" + name }

// Load reads all journals and opens the newest checkpoint.
func (l *repoLog) Load(ctx context.Context) (storage.Loaded, error) {
	loaded, err := l.load(ctx)
	if err != nil {
		return storage.Loaded{}, fmt.Errorf("load log %s: %w", l.repo, err)
	}

	return loaded, nil
}

func (l *repoLog) load(ctx context.Context) (storage.Loaded, error) {
	l.mu.Lock()
	defer l.mu.Unlock()

	if err := errors.Join(ctx.Err(), l.closeFile()); err != nil {
		return storage.Loaded{}, err
	}

	names, checkpoints, err := l.names()
	if err != nil {
		return storage.Loaded{}, err
	}

	journals, err := l.read(ctx, names)
	if err != nil {
		return storage.Loaded{}, err
	}

	var loaded storage.Loaded
	if loaded.Tail, err = l.take(journals); err != nil {
		return storage.Loaded{}, err
	}

	l.checkpoints = checkpoints
	if len(checkpoints) == 0 {
		return loaded, nil
	}

	loaded.Covered = l.covered()

	loaded.Checkpoint, err = openRegular(l.checkpointPath(checkpoints[len(checkpoints)-1]), os.O_RDONLY)
	if err != nil { // Checkpoint is an interface that holds a nil file now
		return storage.Loaded{}, err
	}

	return loaded, nil
}

// names lists the journals and the checkpoints, each in order.
func (l *repoLog) names() (journals []string, checkpoints []uint64, err error) {
	entries, err := os.ReadDir(l.dir)
	if err != nil && !gone(err) {
		return nil, nil, err
	}

	for _, entry := range entries {
		_, isJournal := parseName(entry.Name(), journalPrefix, journalSuffix)
		seq, isCheckpoint := parseName(entry.Name(), checkpointPrefix, checkpointSuffix)

		if !isJournal && !isCheckpoint {
			continue
		}

		if err := checkEntry(l.dir, entry); err != nil {
			return nil, nil, err
		}

		if isJournal {
			journals = append(journals, entry.Name())
		} else {
			checkpoints = append(checkpoints, seq)
		}
	}

	return journals, checkpoints, nil
}

// read reads journals, and decides what counts.
func (l *repoLog) read(ctx context.Context, names []string) ([]*journal, error) {
	journals := make([]*journal, 0, len(names))

	for _, name := range names {
		data, err := l.readFile(name)
		if err := errors.Join(err, ctx.Err()); err != nil {
			return nil, err
		}

		journal, err := parseJournal(name, data)
		if err != nil {
			return nil, err
		}

		journals = append(journals, journal)
	}

	return journals, settle(journals)
}

// readFile reads a journal. After a flush has failed, what is read may be in memory
// only, and the kernel believes that it is on disk: it is written again in place.
func (l *repoLog) readFile(name string) ([]byte, error) {
	path := l.journalPath(name)

	data, err := readRegular(path)
	if err != nil || !l.root.flush.hasFailed() {
		return data, err
	}

	file, err := openRegular(path, os.O_WRONLY)
	if err != nil {
		return nil, err
	}

	l.root.flush.wrote(path)
	_, err = file.WriteAt(data, 0)

	return data, errors.Join(err, file.Close())
}

// take takes over the position that journals lead to, and returns their records. A
// number that comes again makes void what had it before.
func (l *repoLog) take(journals []*journal) ([]storage.Record, error) {
	var tail []storage.Record

	l.journals, l.tail, l.before, l.renew = nil, mark{place: start()}, nil, true

	for _, j := range journals {
		l.journals = append(l.journals, journalFile{name: j.name})
		l.renew = true // unless it ends with a batch that counts

		for _, batch := range j.batches {
			records, err := batch.decode()
			if err != nil {
				return nil, fmt.Errorf("%s: batch before offset %d: %w", j.name, batch.end, err)
			}

			for _, record := range records {
				tail = append(before(tail, record.Seq), record)
			}

			first, last := bounds(records)
			l.accept(mark{place{j.name, batch.sum}, batch.end, first, last})
			l.renew = j.bad != sound
		}
	}

	return tail, nil
}

// before drops the records from number seq on.
func before(records []storage.Record, seq uint64) []storage.Record {
	for len(records) > 0 && records[len(records)-1].Seq >= seq {
		records = records[:len(records)-1]
	}

	return records
}

// OpenCheckpoint opens the companion file of that number.
func (l *repoLog) OpenCheckpoint(_ context.Context, seq uint64) (io.ReadCloser, error) {
	file, err := openRegular(l.checkpointPath(seq), os.O_RDONLY)
	if err != nil {
		return nil, keyError("open", l.checkpointPath(seq), err)
	}

	return file, nil
}

// Close closes the journal.
func (l *repoLog) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()

	return l.closeFile()
}

// closeFile closes the journal. l.mu is held.
func (l *repoLog) closeFile() error {
	if l.file == nil {
		return nil
	}

	file := l.file
	l.file = nil

	return file.Close()
}

// Names of files in logDir carry a sequence number in 20 digits, which every uint64
// fits in, so that they sort by it: the first record of a journal, the last one that
// a checkpoint covers.
const (
	journalPrefix, journalSuffix       = "journal-", ".log"
	checkpointPrefix, checkpointSuffix = "checkpoint-", ".json"
)

func formatName(prefix string, seq uint64, suffix string) string {
	return fmt.Sprintf("%s%020d%s", prefix, seq, suffix)
}

// parseName is the inverse of formatName.
func parseName(name, prefix, suffix string) (uint64, bool) {
	digits := strings.TrimSuffix(strings.TrimPrefix(name, prefix), suffix)
	seq, err := strconv.ParseUint(digits, 10, 64)

	return seq, err == nil && name == formatName(prefix, seq, suffix)
}

// removeAll removes files in order, oldest first, and stops at the first that
// stays.
func removeAll(paths []string) error {
	for _, path := range paths {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}

	return nil
}
