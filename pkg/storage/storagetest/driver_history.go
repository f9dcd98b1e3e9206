package storagetest

import (
	"slices"
	"strings"
	"time"

	"zotregistry.io/zot/pkg/storage"
)

// wantHistory checks what a log has below number before, given in order.
func (d driverUnderTest) wantHistory(log storage.Log, before uint64, want ...storage.Record) {
	d.T.Helper()

	var got []storage.Record

	for record, err := range log.History(d.T.Context(), before) {
		d.must(err)

		got = append(got, record)
	}

	slices.Reverse(got)
	d.wantRecords(got, want)
}

// records makes the records from and to, and all between.
func records(from, to uint64) []storage.Record {
	var all []storage.Record
	for seq := from; seq <= to; seq++ {
		all = append(all, record(seq, "x"))
	}

	return all
}

func (d driverUnderTest) testHistory() {
	log := d.openLog(repoPrefix)
	d.wantHistory(log, 1)
	d.mustLog(log, records(1, 2)...)
	d.wantHistory(log, 3, records(1, 2)...)
	d.mustCheckpoint(log, 2, "state 2", "index 2")
	d.mustLog(log, records(3, 5)...)
	d.wantHistory(log, 6, records(1, 5)...)
	d.mustCheckpoint(log, 4, "state 4", "index 4")
	d.mustLog(log, records(6, 6)...)
	d.mustCheckpoint(log, 6, "state 6", "index 6")

	for before := range uint64(8) {
		d.wantHistory(log, before, records(1, before-min(before, 1))...)
	}

	d.wantHistory(d.openLog("another/"), 1)
	d.wantLog(repoPrefix, "state 6", 6)
}

func (d driverUnderTest) testHistoryBreak() {
	log := d.openLog(repoPrefix)
	d.mustLog(log, records(1, 3)...)
	d.mustCheckpoint(log, 3, "state 3", "index 3")

	for record, err := range log.History(d.T.Context(), 4) {
		d.must(err)

		if record.Seq != 3 {
			d.T.Errorf("the newest is record %d", record.Seq)
		}

		break
	}
}

// testHistoryLarge has more than fits where the newest records are kept.
func (d driverUnderTest) testHistoryLarge() {
	const n = 60

	log := d.openLog(repoPrefix)
	want := records(1, n)

	for i := range want {
		want[i].Who = strings.Repeat("w", 8<<10)
		d.mustLog(log, want[i])

		if i%7 == 0 {
			d.mustCheckpoint(log, want[i].Seq, "state", "index")
		}
	}

	d.wantHistory(log, n+1, want...)
	d.wantHistory(log, n/2+1, want[:n/2]...)
	d.must(log.DropHistory(d.T.Context(), want[0].Time.Add(-time.Hour)))
	d.wantHistory(d.openLog(repoPrefix), n+1, want...)
}

// testHistoryKept has many checkpoints, and nothing that is old.
func (d driverUnderTest) testHistoryKept() {
	const n = 50

	log := d.openLog(repoPrefix)

	for seq := uint64(1); seq <= n; seq++ {
		d.mustLog(log, record(seq, "x"))
		d.mustCheckpoint(log, seq, "state", "index")

		if seq%20 == 0 {
			d.must(log.DropHistory(d.T.Context(), record(1, "x").Time.Add(-time.Hour)))
			d.wantHistory(log, seq+1, records(1, seq)...)
		}
	}

	d.mustLog(log, record(n+1, "x"))
	d.wantHistory(log, n+2, records(1, n+1)...)
	d.wantHistory(log, 18, records(1, 17)...)
}

func (d driverUnderTest) testHistoryDropped() {
	log := d.openLog(repoPrefix)
	d.mustLog(log, records(1, 3)...)
	d.mustCheckpoint(log, 3, "state 3", "index 3")
	d.mustLog(log, records(4, 5)...)
	d.must(log.DropHistory(d.T.Context(), time.Now().Add(time.Hour)))
	d.wantHistory(log, 6, records(4, 5)...)
	d.wantLog(repoPrefix, "state 3", 3, records(4, 5)...)
	d.mustCheckpoint(log, 5, "state 5", "index 5")
	d.wantHistory(log, 6, records(4, 5)...)
	d.must(log.DropHistory(d.T.Context(), time.Now().Add(time.Hour)))
	d.wantHistory(log, 6)
}

func (d driverUnderTest) testHistoryVoid() {
	log := d.openLog(repoPrefix)
	d.mustLog(log, record(1, "x"))
	d.must(log.Append(d.T.Context(), []storage.Record{record(2, "void"), record(3, "void")}))
	d.wantHistory(log, 2, records(1, 1)...)
	d.mustLog(log, record(2, "x"))
	d.wantHistory(log, 3, records(1, 2)...)
	d.mustCheckpoint(log, 2, "state 2", "index 2")
	d.must(log.Append(d.T.Context(), []storage.Record{record(3, "void")}))
	d.mustLog(log, record(3, "x"))
	d.mustLog(log, record(4, "x"))
	d.wantHistory(log, 5, records(1, 4)...)
	d.mustCheckpoint(log, 4, "state 4", "index 4")
	d.wantHistory(log, 5, records(1, 4)...)
}

func (d driverUnderTest) testReopenHistory() {
	d.appendAndClose(func(log storage.Log) {
		d.mustLog(log, records(1, 2)...)
		d.mustCheckpoint(log, 1, "state 1", "index 1")
		d.mustLog(log, record(3, "x"))
		d.mustCheckpoint(log, 3, "state 3", "index 3")
	})
	d.reopen()
	d.appendAndClose(func(log storage.Log) {
		d.wantHistory(log, 4, records(1, 3)...)
		d.mustLog(log, record(4, "x"))
	})
	d.reopen()
	d.wantHistory(d.openLog(repoPrefix), 5, records(1, 4)...)
}

func (d driverUnderTest) testReplicaHistory() {
	other := d.replica()
	mine := d.openLog(repoPrefix)
	d.mustLog(mine, records(1, 3)...)
	d.mustCheckpoint(mine, 2, "state", "index")
	other.wantHistory(other.openLog(repoPrefix), 4, records(1, 3)...)
}
