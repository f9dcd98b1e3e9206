package storagetest

import (
	"context"
	"errors"
	"io"
	"iter"
	"strconv"
	"time"

	"zotregistry.io/zot/pkg/storage"
)

func (f *Fault) NameUpload(repo storage.RepoName) string { return f.inner.NameUpload(repo) }

func (f *Fault) CreateUpload(ctx context.Context, key string) (storage.Upload, error) {
	var up storage.Upload

	err := f.run("create upload "+key, func() (err error) {
		up, err = f.inner.CreateUpload(ctx, key)

		return err
	})
	if err != nil {
		return nil, closeAfter(up, err)
	}

	return &faultUpload{f: f, key: key, inner: up}, nil
}

func (f *Fault) ResumeUpload(ctx context.Context, key string) (storage.Upload, []byte, error) {
	var (
		up   storage.Upload
		note []byte
	)

	err := f.run("resume upload "+key, func() (err error) {
		up, note, err = f.inner.ResumeUpload(ctx, key)

		return err
	})
	if err != nil {
		return nil, nil, closeAfter(up, err)
	}

	return &faultUpload{f: f, key: key, inner: up}, note, nil
}

// closeAfter closes what an operation opened that is then reported as failed.
func closeAfter(opened io.Closer, err error) error {
	if !errors.Is(err, ErrInjected) || opened == nil {
		return err
	}

	return errors.Join(err, opened.Close())
}

type faultUpload struct {
	f     *Fault
	key   string
	inner storage.Upload
}

func (u *faultUpload) Expect(dst string, size int64) { u.inner.Expect(dst, size) }

func (u *faultUpload) Append(ctx context.Context, p []byte) error {
	return u.f.run("append upload "+u.key, func() error { return u.inner.Append(ctx, p) })
}

func (u *faultUpload) Size() int64 { return u.inner.Size() }

func (u *faultUpload) Save(ctx context.Context, note []byte) error {
	return u.f.run("save upload "+u.key, func() error { return u.inner.Save(ctx, note) })
}

func (u *faultUpload) Reader(ctx context.Context, offset int64) (io.ReadCloser, error) {
	return u.f.open("reader of upload "+u.key, func() (io.ReadCloser, error) { return u.inner.Reader(ctx, offset) })
}

func (u *faultUpload) Commit(ctx context.Context, dst string) (string, error) {
	return u.f.place("commit upload "+u.key, func() (string, error) { return u.inner.Commit(ctx, dst) })
}

func (u *faultUpload) Abort(ctx context.Context) error {
	return u.f.run("abort upload "+u.key, func() error { return u.inner.Abort(ctx) })
}

func (u *faultUpload) Close() error { return u.f.closeInner("close upload "+u.key, u.inner) }

// open does an operation that opens a body.
func (f *Fault) open(name string, call func() (io.ReadCloser, error)) (io.ReadCloser, error) {
	var body io.ReadCloser

	err := f.run(name, func() (err error) {
		body, err = call()

		return err
	})
	if err != nil {
		return nil, closeAfter(body, err)
	}

	return &faultBody{faultReader{f: f, name: "read " + name, r: body}, body}, nil
}

type faultBody struct {
	faultReader
	io.Closer
}

func (f *Fault) closeInner(name string, inner io.Closer) error {
	fail, _ := f.next(name)
	if err := inner.Close(); err != nil || !fail {
		return err
	}

	return injected(name)
}

// ListLogs fails before the first log, or behind the last.
func (f *Fault) ListLogs(ctx context.Context) iter.Seq2[storage.LogInfo, error] {
	return func(yield func(storage.LogInfo, error) bool) {
		err := f.run("list logs", func() error {
			for log, err := range f.inner.ListLogs(ctx) {
				if err != nil {
					return err
				}

				if !yield(log, nil) {
					return errStopped
				}
			}

			return nil
		})
		if err != nil && !errors.Is(err, errStopped) {
			yield(storage.LogInfo{}, err)
		}
	}
}

func (f *Fault) OpenLog(ctx context.Context, prefix string) (storage.Log, error) {
	var log storage.Log

	err := f.run("open log "+prefix, func() (err error) {
		log, err = f.inner.OpenLog(ctx, prefix)

		return err
	})
	if err != nil {
		return nil, closeAfter(log, err)
	}

	faulty := &faultLog{f: f, prefix: prefix, inner: log}
	if removable, ok := log.(storage.RemovableLog); ok {
		return &removableFaultLog{faulty, removable}, nil
	}

	return faulty, nil
}

// removableFaultLog is a faultLog of a driver whose logs can be removed.
type removableFaultLog struct {
	*faultLog

	removable storage.RemovableLog
}

func (l *removableFaultLog) Remove(ctx context.Context) error {
	return l.f.run("remove log "+l.prefix, func() error { return l.removable.Remove(ctx) })
}

type faultLog struct {
	f      *Fault
	prefix string
	inner  storage.Log
}

func (l *faultLog) Load(ctx context.Context) (storage.Loaded, error) {
	var loaded storage.Loaded

	name := "load log " + l.prefix

	err := l.f.run(name, func() (err error) {
		loaded, err = l.inner.Load(ctx)

		return err
	})
	if err != nil {
		return storage.Loaded{}, closeAfter(loaded.Checkpoint, err)
	}

	if body := loaded.Checkpoint; body != nil {
		loaded.Checkpoint = &faultBody{faultReader{f: l.f, name: "read " + name, r: body}, body}
	}

	return loaded, nil
}

func (l *faultLog) Append(ctx context.Context, records []storage.Record) error {
	return l.f.run("append log "+l.prefix, func() error { return l.inner.Append(ctx, records) })
}

// Refresh fails before it looks, in both modes: one that failed has told nothing, so
// the next one tells it.
func (l *faultLog) Refresh(ctx context.Context, seq uint64, since time.Time) (storage.Changes, error) {
	name := "refresh log " + l.prefix
	if fail, _ := l.f.next(name); fail {
		return storage.Changes{}, injected(name)
	}

	return l.inner.Refresh(ctx, seq, since)
}

func (l *faultLog) Checkpoint(ctx context.Context, seq uint64, state, index func(io.Writer) error) error {
	return l.f.run("checkpoint log "+l.prefix, func() error { return l.inner.Checkpoint(ctx, seq, state, index) })
}

func (l *faultLog) OpenIndex(ctx context.Context) (storage.Index, error) {
	var index storage.Index

	body, err := l.f.open("index of log "+l.prefix, func() (_ io.ReadCloser, err error) {
		index, err = l.inner.OpenIndex(ctx)

		return index.ReadCloser, err
	})

	return storage.Index{ReadCloser: body, Version: index.Version}, err
}

func (l *faultLog) TookIndex(version any) { l.inner.TookIndex(version) }

func (l *faultLog) OpenCheckpoint(ctx context.Context, seq uint64) (io.ReadCloser, error) {
	name := "checkpoint " + strconv.FormatUint(seq, 10) + " of log " + l.prefix

	return l.f.open(name, func() (io.ReadCloser, error) { return l.inner.OpenCheckpoint(ctx, seq) })
}

// History fails before the first record, or behind the last.
func (l *faultLog) History(ctx context.Context, before uint64) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		err := l.f.run("history of log "+l.prefix, func() error {
			for record, err := range l.inner.History(ctx, before) {
				if err != nil {
					return err
				}

				if !yield(record, nil) {
					return errStopped
				}
			}

			return nil
		})
		if err != nil && !errors.Is(err, errStopped) {
			yield(storage.Record{}, err)
		}
	}
}

func (l *faultLog) DropHistory(ctx context.Context, older time.Time) error {
	return l.f.run("drop history of log "+l.prefix, func() error { return l.inner.DropHistory(ctx, older) })
}

func (l *faultLog) Close() error { return l.f.closeInner("close log "+l.prefix, l.inner) }
