package storagetest

import (
	"strings"
	"testing"

	"zotregistry.io/zot/pkg/storage"
)

// TestDriver holds a driver to its contract. open opens one over an empty root;
// TestDriver closes it.
func TestDriver(t *testing.T, open func(t *testing.T) storage.Driver) {
	t.Helper()

	under := func(t *testing.T) driverUnderTest {
		t.Helper()

		return driverUnderTest{Driver: open(t), T: t}
	}

	runDriverCases(t, driverCases, under)

	if !isRemote(t, under) {
		runDriverCases(t, diskCases, under)
	}
}

// TestDriverReopen holds a driver to what must still be there in the next process.
// open opens one over an empty root, and returns how to open it again after it was
// closed. Where that is the same process, notes of uploads are kept.
func TestDriverReopen(t *testing.T, open func(t *testing.T) (d storage.Driver, again func() storage.Driver)) {
	t.Helper()

	under := func(t *testing.T) driverUnderTest {
		t.Helper()

		driver, again := open(t)

		return driverUnderTest{Driver: driver, T: t, again: again}
	}

	runDriverCases(t, reopenCases, under)

	if !isRemote(t, under) {
		runDriverCases(t, diskReopenCases, under)
	}
}

// TestReplicas holds drivers to what the contract says of several over one root.
// open opens two.
func TestReplicas(t *testing.T, open func(t *testing.T) (a, b storage.Driver)) {
	t.Helper()

	runDriverCases(t, replicaCases, func(t *testing.T) driverUnderTest {
		t.Helper()

		a, b := open(t)

		return driverUnderTest{Driver: a, T: t, other: b}
	})
}

func isRemote(t *testing.T, open func(t *testing.T) driverUnderTest) bool {
	t.Helper()

	d := open(t)
	defer func() { d.must(d.Close()) }()

	return d.Remote()
}

// driverCase is a sentence of the contract.
type driverCase struct {
	name string
	run  func(d driverUnderTest)
}

func runDriverCases(t *testing.T, cases []driverCase, open func(t *testing.T) driverUnderTest) {
	t.Helper()

	for _, c := range cases {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			d := open(t)
			current := d.Driver
			d.current = &current

			defer func() {
				d.must(current.Close())

				if d.other != nil {
					d.must(d.other.Close())
				}
			}()

			c.run(d)
		})
	}
}

var driverCases = []driverCase{
	{"has an id", driverUnderTest.testID},
	{"what was never put does not exist", driverUnderTest.testMissing},
	{"what was put can be read", driverUnderTest.testPut},
	{"a put replaces", driverUnderTest.testReplace},
	{"a put keeps nothing of the caller's memory", driverUnderTest.testPutCopies},
	{"a reader goes on with what it opened", driverUnderTest.testReaderKeeps},
	{"readers see a whole object while it is replaced", driverUnderTest.testWhole},
	{"opens ranges", driverUnderTest.testRanges},
	{"refuses keys that are no paths", driverUnderTest.testBadKeys},
	{"a directory is no object", driverUnderTest.testDirectory},
	{"deletes", driverUnderTest.testDelete},
	{"lists in byte order", driverUnderTest.testList},
	{"lists behind any key", driverUnderTest.testListAfter},
	{"lists below a prefix only", driverUnderTest.testListPrefix},
	{"a list can be left early", driverUnderTest.testListBreak},
	{"puts while listing", driverUnderTest.testListWhilePut},
	{"a link has the same bytes", driverUnderTest.testLink},
	{"a link replaces", driverUnderTest.testLinkReplaces},
	{"a link to itself changes nothing", driverUnderTest.testLinkSelf},
	{"a link outlives its source", driverUnderTest.testLinkOutlives},
	{"a link of what is missing fails", driverUnderTest.testLinkMissing},
	{"may be used concurrently", driverUnderTest.testConcurrent},
	{"syncs", driverUnderTest.testSync},

	{"an upload grows and is committed", driverUnderTest.testUpload},
	{"a commit replaces", driverUnderTest.testUploadReplaces},
	{"an empty upload is committed", driverUnderTest.testUploadEmpty},
	{"an upload is no object before its commit", driverUnderTest.testUploadHidden},
	{"an upload is aborted", driverUnderTest.testUploadAbort},
	{"an upload is resumed", driverUnderTest.testUploadResume},
	{"an upload that is over cannot be resumed", driverUnderTest.testUploadOver},
	{"the newest note is kept", driverUnderTest.testUploadNotes},
	{"an upload is read while it grows", driverUnderTest.testUploadReader},
	{"uploads are listed and deleted", driverUnderTest.testUploadList},

	{"a log that does not exist is empty", driverUnderTest.testLogEmpty},
	{"appended records are loaded in order", driverUnderTest.testLogAppend},
	{"a record keeps all its fields", driverUnderTest.testLogFields},
	{"the log of one repository is not that of another", driverUnderTest.testLogApart},
	{"a checkpoint replaces records", driverUnderTest.testCheckpoint},
	{"a checkpoint keeps what it does not cover", driverUnderTest.testCheckpointTail},
	{"the checkpoint before is kept", driverUnderTest.testCheckpointBefore},
	{"a lower checkpoint replaces nothing", driverUnderTest.testCheckpointLower},
	{"a checkpoint that cannot be written changes nothing", driverUnderTest.testCheckpointFails},
	{"appends go on during a checkpoint", driverUnderTest.testCheckpointOverlap},
	{"nothing has changed until something does", driverUnderTest.testRefreshQuiet},

	{"history has what checkpoints have dropped", driverUnderTest.testHistory},
	{"history can be left early", driverUnderTest.testHistoryBreak},
	{"a long history is kept", driverUnderTest.testHistoryLarge},
	{"history of many checkpoints is kept", driverUnderTest.testHistoryKept},
}

// diskCases are about what only a disk has: writes that are not durable yet, files of
// other programs, and walks that find logs without a catalog.
var diskCases = []driverCase{
	{"an upload is created once", driverUnderTest.testUploadTwice},
	{"a number that comes again makes void what had it", driverUnderTest.testLogVoid},
	{"what was void stays void", driverUnderTest.testLogVoidTwice},
	{"what was void is no history", driverUnderTest.testHistoryVoid},
	{"old history is dropped", driverUnderTest.testHistoryDropped},
	{"an index.json of another program is noticed once", driverUnderTest.testForeignIndex},
	{"an index.json of another program is not overwritten unseen", driverUnderTest.testForeignKept},
	{"lists logs", driverUnderTest.testListLogs},
}

var reopenCases = []driverCase{
	{"keeps its id", driverUnderTest.testReopenID},
	{"keeps objects", driverUnderTest.testReopenObjects},
	{"keeps uploads and their notes", driverUnderTest.testReopenUploads},
	{"keeps logs", driverUnderTest.testReopenLog},
	{"keeps checkpoints", driverUnderTest.testReopenCheckpoint},
	{"keeps history", driverUnderTest.testReopenHistory},
}

var diskReopenCases = []driverCase{
	{"keeps void what was void", driverUnderTest.testReopenVoid},
}

var replicaCases = []driverCase{
	{"one sees what the other wrote", driverUnderTest.testReplicaObjects},
	{"a number is used once", driverUnderTest.testReplicaConflict},
	{"a refresh tells of the other's records", driverUnderTest.testReplicaRefresh},
	{"a log that was trimmed is loaded again", driverUnderTest.testReplicaReload},
	{"one has the history of the other", driverUnderTest.testReplicaHistory},
}
