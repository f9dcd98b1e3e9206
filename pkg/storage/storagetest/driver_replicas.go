package storagetest

import "zotregistry.io/zot/pkg/storage"

// replica is the other driver, under test.
func (d driverUnderTest) replica() driverUnderTest {
	return driverUnderTest{Driver: d.other, T: d.T}
}

func (d driverUnderTest) testReplicaObjects() {
	other := d.replica()
	d.mustPut("a/1", "one")
	other.wantBody("a/1", "one")
	other.must(other.Delete(d.T.Context(), "a/1"))
	d.wantMissing("a/1")

	if d.ID() != other.ID() {
		d.T.Errorf("replicas have the ids %q and %q", d.ID(), other.ID())
	}
}

func (d driverUnderTest) testReplicaConflict() {
	other := d.replica()
	mine, theirs := d.openLog(repoPrefix), other.openLog(repoPrefix)
	d.mustLog(mine, record(1, "mine"))

	err := theirs.Append(d.T.Context(), []storage.Record{record(1, "theirs")})
	d.wantErr(err, storage.ErrConflict)
	d.wantLog(repoPrefix, "", 0, record(1, "mine"))

	other.mustLog(theirs, record(2, "theirs"))

	err = mine.Append(d.T.Context(), []storage.Record{record(2, "mine")})
	d.wantErr(err, storage.ErrConflict)
	d.wantLog(repoPrefix, "", 0, record(1, "mine"), record(2, "theirs"))
}

func (d driverUnderTest) testReplicaRefresh() {
	other := d.replica()
	mine, theirs := d.openLog(repoPrefix), other.openLog(repoPrefix)
	d.mustLog(mine, record(1, "mine"))
	d.mustLog(mine, record(2, "mine"), record(3, "mine"))

	d.wantRecords(d.refresh(theirs, 0).Records, []storage.Record{record(1, "mine"), record(2, "mine"), record(3, "mine")})
	d.wantRecords(d.refresh(theirs, 2).Records, []storage.Record{record(3, "mine")})
	d.wantRecords(d.refresh(theirs, 3).Records, nil)
	d.wantRecords(d.refresh(mine, 3).Records, nil)

	other.mustLog(theirs, record(4, "theirs"))
	d.wantRecords(d.refresh(mine, 3).Records, []storage.Record{record(4, "theirs")})
	d.wantRecords(d.refresh(theirs, 4).Records, nil)
}

func (d driverUnderTest) testReplicaReload() {
	other := d.replica()
	mine, theirs := d.openLog(repoPrefix), other.openLog(repoPrefix)
	d.mustLog(mine, record(1, "mine"))
	d.mustLog(mine, record(2, "mine"))
	d.mustCheckpoint(mine, 2, "state", "index")

	changes := d.refresh(theirs, 1)
	if known := len(changes.Records) == 1; known == changes.Reload || changes.Index {
		d.T.Errorf("Refresh behind a checkpoint says %+v", changes)
	}

	if !changes.Reload && changes.Covered != 2 {
		d.T.Errorf("Refresh behind a checkpoint of 2 says that %d are covered", changes.Covered)
	}

	err := theirs.Append(d.T.Context(), []storage.Record{record(2, "theirs")})
	d.wantErr(err, storage.ErrConflict)
	other.wantLog(repoPrefix, "state", 2)
}
