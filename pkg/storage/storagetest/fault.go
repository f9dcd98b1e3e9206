package storagetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync"
	"testing"

	"zotregistry.io/zot/pkg/storage"
)

// ErrInjected is what an operation that was made to fail returns.
var ErrInjected = errors.New("injected fault")

// FaultMode says how an operation fails.
type FaultMode int

const (
	// NotDone fails an operation before it has done anything.
	NotDone FaultMode = iota

	// DoneButFailed does the operation, then reports that it failed: an answer that
	// was lost, a flush whose error came late.
	DoneButFailed
)

func (m FaultMode) String() string {
	if m == NotDone {
		return "not done"
	}

	return "done but reported failed"
}

// Fault wraps a driver, counts its operations (those of its uploads, logs and
// bodies too) and makes one of them fail. It may be used concurrently; a count is
// then only as repeatable as the order of the calls.
//
// Close of an upload, log or body always closes, in both modes.
type Fault struct {
	inner storage.Driver

	mu    sync.Mutex // guards all below
	names []string   // operations since the last FailAt
	match func(name string) bool
	count int // operations that matched
	at    int // 0 = none fails
	mode  FaultMode
	hit   string
}

// NewFault wraps inner. Until FailAt is called nothing fails.
func NewFault(inner storage.Driver) *Fault { return &Fault{inner: inner} }

// FailAt makes the n-th operation from now on fail, n = 1, 2, 3, ...; with n = 0
// none does. Only operations whose name match says yes to are counted; nil = all.
// A name is a verb and a key, as in "put a/blobs/sha256/00ff" or "sync".
func (f *Fault) FailAt(n int, mode FaultMode, match func(name string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()

	f.names, f.match, f.count, f.at, f.mode, f.hit = nil, match, 0, n, mode, ""
}

// Hit returns the name of the operation that was made to fail since the last
// FailAt, "" if none was.
func (f *Fault) Hit() string {
	f.mu.Lock()
	defer f.mu.Unlock()

	return f.hit
}

// Names returns the operations since the last FailAt, in order.
func (f *Fault) Names() []string {
	f.mu.Lock()
	defer f.mu.Unlock()

	return slices.Clone(f.names)
}

// EachFault calls run with n = 1, 2, 3, ... and each mode, until a run in which
// nothing failed. run sets up anew, calls FailAt(n, mode, ...) where its faults
// shall begin, and returns the Fault.
func EachFault(t *testing.T, run func(t *testing.T, n int, mode FaultMode) *Fault) {
	t.Helper()

	for _, mode := range []FaultMode{NotDone, DoneButFailed} {
		for n, more := 1, true; more; n++ {
			name := fmt.Sprintf("%s/%d", mode, n)

			ok := t.Run(name, func(t *testing.T) {
				hit := run(t, n, mode).Hit()
				more = hit != ""
				t.Logf("failed: %q", hit)
			})
			if !ok {
				return
			}
		}
	}
}

// next counts an operation, and says whether it is the one to fail.
func (f *Fault) next(name string) (fail bool, mode FaultMode) {
	f.mu.Lock()
	defer f.mu.Unlock()

	f.names = append(f.names, name)
	if f.match != nil && !f.match(name) {
		return false, f.mode
	}

	f.count++
	if f.count != f.at {
		return false, f.mode
	}

	f.hit = name

	return true, f.mode
}

// run does an operation, or fails it. A call that fails by itself reports its own
// error.
func (f *Fault) run(name string, call func() error) error {
	fail, mode := f.next(name)
	if fail && mode == NotDone {
		return injected(name)
	}

	if err := call(); err != nil || !fail {
		return err
	}

	return injected(name)
}

func injected(name string) error { return fmt.Errorf("%s: %w", name, ErrInjected) }

func (f *Fault) Stat(ctx context.Context, key string) (info storage.Info, err error) {
	err = f.run("stat "+key, func() error {
		info, err = f.inner.Stat(ctx, key)

		return err
	})

	return info, err
}

func (f *Fault) Open(ctx context.Context, key string, rng storage.Range) (*storage.Object, error) {
	var object *storage.Object

	err := f.run("open "+key, func() (err error) {
		object, err = f.inner.Open(ctx, key, rng)

		return err
	})
	if err != nil {
		return nil, errors.Join(err, closeObject(object))
	}

	body := &faultReader{f: f, name: "read " + key, r: object.Body}

	return &storage.Object{Body: body, Size: object.Size, Closer: object.Closer}, nil
}

func closeObject(object *storage.Object) error {
	if object == nil {
		return nil
	}

	return object.Close()
}

// List fails before the first object, or behind the last.
func (f *Fault) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		err := f.run("list "+prefix, func() error {
			for info, err := range f.inner.List(ctx, prefix, after) {
				if err != nil {
					return err
				}

				if !yield(info, nil) {
					return errStopped
				}
			}

			return nil
		})
		if err != nil && !errors.Is(err, errStopped) {
			yield(storage.Info{}, err)
		}
	}
}

var errStopped = errors.New("loop ended")

func (f *Fault) Put(ctx context.Context, key string, body []byte) (string, error) {
	return f.place("put "+key, func() (string, error) { return f.inner.Put(ctx, key, body) })
}

func (f *Fault) Link(ctx context.Context, src, dst string) (string, error) {
	return f.place("link "+dst, func() (string, error) { return f.inner.Link(ctx, src, dst) })
}

// place does an operation that says where it has put something.
func (f *Fault) place(name string, call func() (string, error)) (placed string, err error) {
	err = f.run(name, func() (err error) {
		placed, err = call()

		return err
	})

	return placed, err
}

func (f *Fault) Delete(ctx context.Context, key string) error {
	return f.run("delete "+key, func() error { return f.inner.Delete(ctx, key) })
}

// Remove is a Delete where the driver is no storage.Remover.
func (f *Fault) Remove(ctx context.Context, key string) (func() error, error) {
	remover, ok := f.inner.(storage.Remover)
	if !ok {
		return func() error { return nil }, f.Delete(ctx, key)
	}

	var finish func() error

	err := f.run("remove "+key, func() (err error) {
		finish, err = remover.Remove(ctx, key)

		return err
	})
	if err != nil {
		return nil, err
	}

	return func() error { return f.run("free "+key, finish) }, nil
}

func (f *Fault) Sync(ctx context.Context) error {
	return f.run("sync", func() error { return f.inner.Sync(ctx) })
}

func (f *Fault) ID() string { return f.inner.ID() }

func (f *Fault) Remote() bool { return f.inner.Remote() }

func (f *Fault) Close() error {
	fail, _ := f.next("close")
	if err := f.inner.Close(); err != nil || !fail {
		return err
	}

	return injected("close")
}

// faultReader counts the reading of a body as one operation. NotDone fails the
// first Read, DoneButFailed the one that meets the end.
type faultReader struct {
	f    *Fault
	name string
	r    io.Reader

	begun, fail bool
	mode        FaultMode
}

func (r *faultReader) Read(p []byte) (int, error) {
	if !r.begun {
		r.begun = true
		r.fail, r.mode = r.f.next(r.name)
	}

	if r.fail && r.mode == NotDone {
		return 0, injected(r.name)
	}

	n, err := r.r.Read(p)
	if r.fail && errors.Is(err, io.EOF) {
		err = injected(r.name)
	}

	return n, err
}
