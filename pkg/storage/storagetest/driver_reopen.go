package storagetest

import (
	"io/fs"
	"slices"

	"zotregistry.io/zot/pkg/storage"
)

// reopen closes the driver and opens its root again.
func (d *driverUnderTest) reopen() {
	d.T.Helper()
	d.must(d.Close())

	d.Driver = d.again()
	*d.current = d.Driver
}

func (d driverUnderTest) testReopenID() {
	id := d.ID()
	d.reopen()

	if d.ID() != id {
		d.T.Errorf("ID was %q, is %q", id, d.ID())
	}
}

func (d driverUnderTest) testReopenObjects() {
	d.mustPut("a/1", "one")
	d.mustPlaced(d.Link(d.T.Context(), "a/1", "b/1"))
	d.mustPut("a/2", "two")
	d.must(d.Delete(d.T.Context(), "a/2"))
	d.reopen()
	d.wantBody("a/1", "one")
	d.wantBody("b/1", "one")
	d.wantMissing("a/2")
}

func (d driverUnderTest) testReopenUploads() {
	key := d.newUpload()

	up, err := d.CreateUpload(d.T.Context(), key)
	d.must(err)
	d.mustAppend(up, "some ")
	d.must(up.Save(d.T.Context(), []byte("note")))
	d.must(up.Close())
	d.reopen()

	up, note := d.mustResume(key)
	if up.Size() != 5 || note != "note" {
		d.T.Fatalf("resumed at %d with note %q", up.Size(), note)
	}

	d.mustAppend(up, "bytes")
	d.mustPlaced(up.Commit(d.T.Context(), "a/b"))
	d.wantBody("a/b", "some bytes")
}

// appendAndClose uses a log as a process that ends then.
func (d driverUnderTest) appendAndClose(use func(log storage.Log)) {
	d.T.Helper()

	log, err := d.OpenLog(d.T.Context(), repoPrefix)
	d.must(err)

	loaded, err := log.Load(d.T.Context())
	d.must(err)
	d.closeCheckpoint(loaded)
	use(log)
	d.must(log.Close())
}

func (d driverUnderTest) testReopenLog() {
	d.appendAndClose(func(log storage.Log) { d.mustLog(log, record(1, "one")) })
	d.reopen()
	d.appendAndClose(func(log storage.Log) {
		d.mustLog(log, record(2, "two"))
		d.must(log.Append(d.T.Context(), []storage.Record{record(3, "not synced")}))
	})
	d.reopen()
	d.wantLog(repoPrefix, "", 0, record(1, "one"), record(2, "two"), record(3, "not synced"))
}

func (d driverUnderTest) testReopenCheckpoint() {
	d.appendAndClose(func(log storage.Log) {
		d.mustLog(log, record(1, "one"))
		d.mustLog(log, record(2, "two"))
		d.mustCheckpoint(log, 1, "state 1", "index 1")
		d.mustLog(log, record(3, "three"))
	})
	d.reopen()
	d.wantLog(repoPrefix, "state 1", 1, record(2, "two"), record(3, "three"))
	d.appendAndClose(func(log storage.Log) {
		if !d.Remote() {
			d.takeIndex(log, "index 1")
		}

		d.mustCheckpoint(log, 3, "state 3", "index 3")

		_, err := log.OpenCheckpoint(d.T.Context(), 2)
		d.wantErr(err, fs.ErrNotExist)
	})
	d.reopen()
	d.wantLog(repoPrefix, "state 3", 3)

	if d.Remote() { // the catalog tells, which is the engine's
		return
	}

	prefixes := []string{}

	for log, err := range d.ListLogs(d.T.Context()) {
		d.must(err)

		prefixes = append(prefixes, log.Prefix)
	}

	if !slices.Equal(prefixes, []string{repoPrefix}) {
		d.T.Errorf("ListLogs yields %q", prefixes)
	}
}

func (d driverUnderTest) testReopenVoid() {
	d.appendAndClose(func(log storage.Log) {
		d.mustLog(log, record(1, "one"))
		d.must(log.Append(d.T.Context(), []storage.Record{record(2, "void"), record(3, "void")}))
		d.mustLog(log, record(2, "two"))
	})
	d.reopen()
	d.wantLog(repoPrefix, "", 0, record(1, "one"), record(2, "two"))
	d.appendAndClose(func(log storage.Log) { d.mustLog(log, record(3, "three")) })
	d.reopen()
	d.wantLog(repoPrefix, "", 0, record(1, "one"), record(2, "two"), record(3, "three"))
}
