package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"zotregistry.io/zot/pkg/storage"
)

// Salvage reads history and journals, and yields the records of all lines that are whole by
// themselves. Void are those behind the place where the next file says that its records go
// on, and those whose numbers that has again.
func (l *repoLog) Salvage(ctx context.Context, after uint64) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		if err := l.salvage(ctx, after, yield); err != nil && !errors.Is(err, errLeft) {
			yield(storage.Record{}, fmt.Errorf("salvage log %s: %w", l.repo, err))
		}
	}
}

func (l *repoLog) salvage(ctx context.Context, after uint64, yield func(storage.Record, error) bool) error {
	names, err := l.logFiles()
	if err != nil {
		return err
	}

	for i, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}

		next := uint64(math.MaxUint64)
		if i+1 < len(names) {
			next = firstOf(names[i+1])
		}

		if next <= after+1 {
			continue
		}

		records, err := l.wholeRecords(name, names[i+1:])
		if err != nil {
			return err
		}

		for _, record := range records {
			if record.Seq <= after || record.Seq >= next {
				continue
			}

			after = record.Seq
			if !yield(record, nil) {
				return errLeft
			}
		}
	}

	return nil
}

// wholeRecords returns the records of the lines of a file that are whole, up to the batch
// behind which the next file goes on, if that is there.
func (l *repoLog) wholeRecords(name string, behind []string) ([]storage.Record, error) {
	data, err := readRegular(l.journalPath(name))
	if gone(err) {
		return nil, nil
	}

	if err != nil {
		return nil, err
	}

	end, err := l.endOf(name, behind)
	if err != nil {
		return nil, err
	}

	batches := wholeBatches(data)

	for i, b := range batches {
		if b.sum == end {
			batches = batches[:i+1]

			break
		}
	}

	var records []storage.Record

	for _, b := range batches {
		decoded, err := b.decode()
		if errors.Is(err, storage.ErrFormat) {
			return nil, fmt.Errorf("%s: %w", name, err)
		}

		if err != nil {
			continue
		}

		for _, record := range decoded {
			records = append(before(records, record.Seq), record)
		}
	}

	return records, nil
}

// endOf returns the sum of the batch that ends a file, as the file behind it says.
func (l *repoLog) endOf(name string, behind []string) (sum string, err error) {
	if len(behind) == 0 {
		return "", nil
	}

	j, err := l.readHistory(behind[0])
	if gone(err) {
		return "", nil
	}

	if err != nil || j.headless() || firstOf(j.after.file) != firstOf(name) {
		return "", err
	}

	return j.after.sum, nil
}

// wholeBatches returns the lines of a journal that match their sums, whatever is between.
func wholeBatches(data []byte) []batch {
	var batches []batch

	for at := 0; at < len(data); {
		line, _, ended := bytes.Cut(data[at:], []byte("\n"))
		at += len(line) + 1

		if f, ok := parseFrame(line); ok && ended {
			batches = append(batches, batch{f.sum, f.payload, int64(at)})
		}
	}

	return batches
}

// Replace writes a checkpoint of a log that cannot be loaded. Its journals stay; they are
// covered, and become history with one of the next checkpoints.
func (l *repoLog) Replace(ctx context.Context, seq uint64, state, index func(io.Writer) error) error {
	now, err := identify(l.indexPath())
	if err != nil {
		return fmt.Errorf("replace log %s: %w", l.repo, err)
	}

	l.TookIndex(now)

	return l.Checkpoint(ctx, seq, state, index)
}

// SetAside links a file, of whatever kind, to where it is kept. finish removes it under its
// old name, if it still is that file.
func (r *Root) SetAside(_ context.Context, key, to string) (finish func() error, err error) {
	from, err := r.file(key)
	if err != nil {
		return nil, err
	}

	kept, err := r.file(to)
	if err != nil {
		return nil, err
	}

	was, err := os.Lstat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return func() error { return nil }, nil
	}

	if err != nil {
		return nil, keyError("put aside", key, err)
	}

	if err := r.keepFile(from, kept); err != nil {
		return nil, keyError("put aside", key, err)
	}

	r.flush.wrote(kept, filepath.Dir(kept))

	return func() error { return r.removeIf(from, was) }, nil
}

// keepFile links a file, or copies it where that cannot be done.
func (r *Root) keepFile(from, to string) error {
	err := r.withDir(to, func() error { return hardLink(from, to) })
	if errors.Is(err, fs.ErrExist) {
		if same, err := sameFile(from, to); same || err != nil {
			return err
		}

		return r.keepFile(from, to+".")
	}

	if !errors.Is(unsupported(err), errors.ErrUnsupported) {
		return err
	}

	file, err := openRegular(from, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer file.Close()

	temp, err := r.writeTemp(func(w io.Writer) error {
		_, err := io.Copy(w, file)

		return err
	})
	if err != nil {
		return err
	}

	return r.place(temp, to)
}

// removeIf removes a name if it still leads to a file.
func (r *Root) removeIf(path string, was os.FileInfo) error {
	now, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(now, was) {
		return nil
	}

	if err != nil {
		return err
	}

	if err := removeFile(path); err != nil {
		return err
	}

	r.flush.wrote(filepath.Dir(path))

	return nil
}

// inode names the bytes of a file that has several names, as they were written last.
type inode struct {
	device, number uint64
	written        int64
}

// Identify tells files with several names from each other.
func (r *Root) Identify(_ context.Context, key string) (any, error) {
	path, err := r.file(key)
	if err != nil {
		return nil, err
	}

	var stat unix.Stat_t
	if err := unix.Lstat(path, &stat); err != nil {
		return nil, keyError("stat", key, err)
	}

	if stat.Nlink < 2 {
		return nil, nil //nolint:nilnil // nothing else leads to it
	}

	return inode{uint64(stat.Dev), stat.Ino, stat.Mtim.Nano()}, nil //nolint:unconvert // signed on some platforms; only compared
}
