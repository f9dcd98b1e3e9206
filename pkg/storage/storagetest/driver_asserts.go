package storagetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
)

// driverUnderTest is a driver with what its tests say again and again.
type driverUnderTest struct {
	storage.Driver

	T       *testing.T
	other   storage.Driver        // a replica; nil but in TestReplicas
	again   func() storage.Driver // opens the root again; nil but in TestDriverReopen
	current *storage.Driver       // the one to close when the case ends
}

// must ends the test if an error is not nil. It is called from the test's goroutine.
func (d driverUnderTest) must(err error) {
	d.T.Helper()

	if err != nil {
		d.T.Fatal(err)
	}
}

// mustPlaced is must for what says where it has put something.
func (d driverUnderTest) mustPlaced(_ string, err error) {
	d.T.Helper()
	d.must(err)
}

func (d driverUnderTest) wantErr(err, want error) {
	d.T.Helper()

	if !errors.Is(err, want) {
		d.T.Fatalf("error is %v, want one that matches %v", err, want)
	}
}

func (d driverUnderTest) wantMissing(key string) {
	d.T.Helper()

	_, err := d.Stat(d.T.Context(), key)
	d.wantErr(err, fs.ErrNotExist)

	_, err = d.Open(d.T.Context(), key, storage.Whole)
	d.wantErr(err, fs.ErrNotExist)
}

func (d driverUnderTest) mustPut(key, body string) {
	d.T.Helper()
	d.mustPlaced(d.Put(d.T.Context(), key, []byte(body)))
}

// wantBody checks what key holds, by Stat and by Open.
func (d driverUnderTest) wantBody(key, want string) {
	d.T.Helper()

	info, err := d.Stat(d.T.Context(), key)
	d.must(err)

	if info.Key != key || info.Size != int64(len(want)) || info.Modified.IsZero() {
		d.T.Fatalf("Stat(%q) is %+v, want size %d", key, info, len(want))
	}

	if got := d.read(key, storage.Whole); got != want {
		d.T.Fatalf("%q holds %.40q, want %.40q", key, got, want)
	}
}

func (d driverUnderTest) read(key string, rng storage.Range) string {
	d.T.Helper()

	object, err := d.Open(d.T.Context(), key, rng)
	d.must(err)

	body, err := io.ReadAll(object.Body)
	d.must(errors.Join(err, object.Close()))

	return string(body)
}

func (d driverUnderTest) wantList(prefix, after string, want ...string) {
	d.T.Helper()

	var got []string

	for info, err := range d.List(d.T.Context(), prefix, after) {
		d.must(err)

		got = append(got, info.Key)
	}

	if !slices.Equal(got, want) {
		d.T.Fatalf("List(%q, %q) is %q, want %q", prefix, after, got, want)
	}
}

func (d driverUnderTest) mustCreate(key string) storage.Upload {
	d.T.Helper()

	up, err := d.CreateUpload(d.T.Context(), key)
	d.must(err)
	d.T.Cleanup(func() {
		if err := up.Close(); err != nil {
			d.T.Error(err)
		}
	})

	return up
}

func (d driverUnderTest) mustResume(key string) (storage.Upload, string) {
	d.T.Helper()

	up, note, err := d.ResumeUpload(d.T.Context(), key)
	d.must(err)

	return up, string(note)
}

func (d driverUnderTest) mustAppend(up storage.Upload, p string) {
	d.T.Helper()

	before := up.Size()
	d.must(up.Append(d.T.Context(), []byte(p)))

	if got := up.Size() - before; got != int64(len(p)) {
		d.T.Fatalf("upload grew by %d bytes, want %d", got, len(p))
	}
}

func (d driverUnderTest) readUpload(up storage.Upload, offset int64) string {
	d.T.Helper()

	body, err := up.Reader(d.T.Context(), offset)
	d.must(err)

	return d.drain(body)
}

func (d driverUnderTest) drain(body io.ReadCloser) string {
	d.T.Helper()

	got, err := io.ReadAll(body)
	d.must(errors.Join(err, body.Close()))

	return string(got)
}

// repoPrefix is the repository of the log tests.
const repoPrefix = "a/repo/"

// openLog opens and loads a log, and closes it at the end of the test.
func (d driverUnderTest) openLog(prefix string) storage.Log {
	d.T.Helper()

	log, err := d.OpenLog(d.T.Context(), prefix)
	d.must(err)
	d.T.Cleanup(func() {
		if err := log.Close(); err != nil {
			d.T.Error(err)
		}
	})

	loaded, err := log.Load(d.T.Context())
	d.must(err)
	d.closeCheckpoint(loaded)

	return log
}

func (d driverUnderTest) closeCheckpoint(loaded storage.Loaded) {
	d.T.Helper()

	if loaded.Checkpoint != nil {
		d.must(loaded.Checkpoint.Close())
	}
}

// record makes record seq; what tells it from another of the same number.
func record(seq uint64, what string) storage.Record {
	return storage.Record{
		Seq:  seq,
		Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Who:  what,
		Ops: []storage.Op{{
			Kind:   storage.OpSetTag,
			Tag:    storage.Tag(fmt.Sprint("tag", seq)),
			Digest: digest.FromString(what),
		}},
	}
}

func (d driverUnderTest) mustLog(log storage.Log, records ...storage.Record) {
	d.T.Helper()
	d.must(log.Append(d.T.Context(), records))
	d.must(d.Sync(d.T.Context()))
}

// wantLog checks what a new look at the log finds: the checkpoint, "" = none, and
// the records that it does not cover.
func (d driverUnderTest) wantLog(prefix, checkpoint string, covered uint64, want ...storage.Record) {
	d.T.Helper()

	log, err := d.OpenLog(d.T.Context(), prefix)
	d.must(err)

	loaded, err := log.Load(d.T.Context())
	d.must(err)

	got := ""
	if loaded.Checkpoint != nil {
		got = d.drain(loaded.Checkpoint)
	}

	if got != checkpoint {
		d.T.Fatalf("checkpoint is %q, want %q", got, checkpoint)
	}

	tail := slices.DeleteFunc(loaded.Tail, func(r storage.Record) bool { return r.Seq <= covered })
	d.wantRecords(tail, want)
	d.must(log.Close())
}

func (d driverUnderTest) wantRecords(got, want []storage.Record) {
	d.T.Helper()

	if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
		d.T.Fatalf("records are\n%+v\nwant\n%+v", got, want)
	}
}

// writes returns a function that writes s.
func writes(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader([]byte(s)))

		return err
	}
}

func (d driverUnderTest) mustCheckpoint(log storage.Log, seq uint64, state, index string) {
	d.T.Helper()
	d.must(log.Checkpoint(d.T.Context(), seq, writes(state), writes(index)))
}

func (d driverUnderTest) refresh(log storage.Log, seq uint64) storage.Changes {
	d.T.Helper()

	changes, err := log.Refresh(d.T.Context(), seq, time.Now())
	d.must(err)

	return changes
}
