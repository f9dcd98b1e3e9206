package storagetest_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	. "github.com/smartystreets/goconvey/convey"
	"go.uber.org/goleak"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemory(t *testing.T) {
	storagetest.TestDriver(t, func(*testing.T) storage.Driver { return storagetest.NewMemory().Driver() })
}

func TestMemoryReopen(t *testing.T) {
	storagetest.TestDriverReopen(t, func(*testing.T) (storage.Driver, func() storage.Driver) {
		m := storagetest.NewMemory()

		return m.Driver(), m.Driver
	})
}

func TestMemoryReplicas(t *testing.T) {
	storagetest.TestReplicas(t, func(*testing.T) (a, b storage.Driver) {
		m := storagetest.NewMemory()

		return m.Driver(), m.Driver()
	})
}

// A fault driver that fails nothing is a driver.
func TestFaultIsDriver(t *testing.T) {
	storagetest.TestDriver(t, func(*testing.T) storage.Driver {
		return storagetest.NewFault(storagetest.NewMemory().Driver())
	})
}

func must(t *testing.T, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}

func TestMemoryCrash(t *testing.T) {
	Convey("Given a memory with synced and unsynced changes", t, func() {
		ctx := t.Context()
		m := storagetest.NewMemory()
		d := m.Driver()

		up, err := d.CreateUpload(ctx, "a/.uploads/1")
		So(err, ShouldBeNil)
		So(up.Append(ctx, []byte("synced")), ShouldBeNil)
		So(up.Save(ctx, []byte("note")), ShouldBeNil)
		So(errorOf(d.Put(ctx, "a/1", []byte("synced"))), ShouldBeNil)
		So(errorOf(d.Put(ctx, "a/2", []byte("synced"))), ShouldBeNil)

		log, err := d.OpenLog(ctx, "a/")
		So(err, ShouldBeNil)
		So(log.Append(ctx, []storage.Record{tagRecord(1)}), ShouldBeNil)
		So(d.Sync(ctx), ShouldBeNil)
		So(m.Syncs(), ShouldEqual, 1)
		So(m.Unsynced(), ShouldBeEmpty)

		So(up.Append(ctx, []byte(" and lost")), ShouldBeNil)
		So(errorOf(d.Put(ctx, "a/1", []byte("lost"))), ShouldBeNil)
		So(d.Delete(ctx, "a/2"), ShouldBeNil)
		So(errorOf(d.Put(ctx, "a/3", []byte("lost"))), ShouldBeNil)
		So(log.Append(ctx, []storage.Record{tagRecord(2)}), ShouldBeNil)
		So(m.Unsynced(), ShouldResemble, []string{"a/.uploads/1", "a/1", "a/2", "a/3"})

		Convey("a crash takes all back that was not synced", func() {
			m.Crash()

			d := m.Driver()
			So(read(t, d, "a/1"), ShouldEqual, "synced")
			So(read(t, d, "a/2"), ShouldEqual, "synced")

			_, err := d.Stat(ctx, "a/3")
			So(err, ShouldNotBeNil)

			up, note, err := d.ResumeUpload(ctx, "a/.uploads/1")
			So(err, ShouldBeNil)
			So(up.Size(), ShouldEqual, len("synced"))
			So(note, ShouldBeNil)

			log, err := d.OpenLog(ctx, "a/")
			So(err, ShouldBeNil)

			loaded, err := log.Load(ctx)
			So(err, ShouldBeNil)
			So(loaded.Tail, ShouldResemble, []storage.Record{tagRecord(1)})
		})
	})
}

func tagRecord(seq uint64) storage.Record {
	return storage.Record{Seq: seq, Ops: []storage.Op{
		{Kind: storage.OpSetTag, Tag: "tag", Digest: digest.FromString("x")},
	}}
}

func read(t *testing.T, d storage.Driver, key string) string {
	t.Helper()

	object, err := d.Open(t.Context(), key, storage.Whole)
	must(t, err)

	body, err := io.ReadAll(object.Body)
	must(t, errors.Join(err, object.Close()))

	return string(body)
}

func TestMemoryLinkLimit(t *testing.T) {
	m := storagetest.NewMemory()
	m.LinkLimit = 2
	d := m.Driver()

	must(t, errorOf(d.Put(t.Context(), "a/1", []byte("one"))))
	must(t, errorOf(d.Link(t.Context(), "a/1", "a/2")))

	if _, err := d.Link(t.Context(), "a/1", "a/3"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a third name: %v", err)
	}

	must(t, d.Delete(t.Context(), "a/1"))
	must(t, errorOf(d.Link(t.Context(), "a/2", "a/3")))
}

// push is a small life: some of everything that a Fault can fail.
func push(ctx context.Context, d storage.Driver) error {
	up, err := d.CreateUpload(ctx, "a/.uploads/1")
	if err != nil {
		return err
	}

	if err := errors.Join(up.Append(ctx, []byte("bytes")), up.Save(ctx, nil)); err != nil {
		return errors.Join(err, up.Abort(ctx))
	}

	if _, err := up.Commit(ctx, "a/1"); err != nil {
		return errors.Join(err, up.Close())
	}

	if err := errors.Join(errorOf(d.Link(ctx, "a/1", "a/2")), d.Sync(ctx)); err != nil {
		return err
	}

	log, err := d.OpenLog(ctx, "a/")
	if err != nil {
		return err
	}

	if _, err := log.Load(ctx); err != nil {
		return errors.Join(err, log.Close())
	}

	return errors.Join(log.Append(ctx, []storage.Record{tagRecord(1)}), d.Sync(ctx), log.Close())
}

func TestFaultFailsEachOnce(t *testing.T) {
	hits := map[storagetest.FaultMode][]string{}

	storagetest.EachFault(t, func(t *testing.T, n int, mode storagetest.FaultMode) *storagetest.Fault {
		fault := storagetest.NewFault(storagetest.NewMemory().Driver())
		fault.FailAt(n, mode, nil)

		err := push(t.Context(), fault)
		if failed := fault.Hit() != ""; failed != errors.Is(err, storagetest.ErrInjected) {
			t.Errorf("%q was to fail, the error is %v", fault.Hit(), err)
		}

		hits[mode] = append(hits[mode], fault.Hit())

		return fault
	})

	want := []string{
		"create upload a/.uploads/1", "append upload a/.uploads/1", "save upload a/.uploads/1",
		"commit upload a/.uploads/1", "link a/2", "sync", "open log a/", "load log a/", "append log a/",
		"sync", "close log a/", "",
	}

	for mode, got := range hits {
		if !slices.Equal(got, want) {
			t.Errorf("%s: failed\n%q, want\n%q", mode, got, want)
		}
	}
}

func TestFaultModes(t *testing.T) {
	Convey("Given a fault driver", t, func() {
		ctx := t.Context()
		fault := storagetest.NewFault(storagetest.NewMemory().Driver())
		puts := func(name string) bool { return name == "put a" }

		Convey("what is not done has not happened", func() {
			fault.FailAt(1, storagetest.NotDone, puts)
			So(errorOf(fault.Put(ctx, "b", nil)), ShouldBeNil)
			So(errorOf(fault.Put(ctx, "a", nil)), ShouldNotBeNil)

			_, err := fault.Stat(ctx, "a")
			So(err, ShouldNotBeNil)
			So(fault.Names(), ShouldResemble, []string{"put b", "put a", "stat a"})
			So(errorOf(fault.Put(ctx, "a", nil)), ShouldBeNil)
		})

		Convey("what is done but reported failed has happened", func() {
			fault.FailAt(1, storagetest.DoneButFailed, puts)
			So(errorOf(fault.Put(ctx, "a", nil)), ShouldNotBeNil)

			_, err := fault.Stat(ctx, "a")
			So(err, ShouldBeNil)
		})

		Convey("a body fails at its beginning or at its end", func() {
			So(errorOf(fault.Put(ctx, "a", []byte("body"))), ShouldBeNil)

			for mode, want := range map[storagetest.FaultMode]string{
				storagetest.NotDone: "", storagetest.DoneButFailed: "body",
			} {
				fault.FailAt(2, mode, nil)

				object, err := fault.Open(ctx, "a", storage.Whole)
				So(err, ShouldBeNil)

				body, err := io.ReadAll(object.Body)
				So(err, ShouldWrap, storagetest.ErrInjected)
				So(string(body), ShouldEqual, want)
			}
		})
	})
}

// errorOf drops where something was put.
func errorOf(_ string, err error) error { return err }
