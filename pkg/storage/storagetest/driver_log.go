package storagetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
)

func (d driverUnderTest) testLogEmpty() {
	log := d.openLog(repoPrefix)
	d.wantLog(repoPrefix, "", 0)

	_, err := log.OpenIndex(d.T.Context())
	d.wantErr(err, fs.ErrNotExist)

	_, err = log.OpenCheckpoint(d.T.Context(), 1)
	d.wantErr(err, fs.ErrNotExist)
	d.wantList("", "")
}

func (d driverUnderTest) testLogAppend() {
	log := d.openLog(repoPrefix)
	d.mustLog(log, record(1, "one"))
	d.mustLog(log, record(2, "two"), record(3, "three"))
	d.must(log.Append(d.T.Context(), nil))
	d.wantLog(repoPrefix, "", 0, record(1, "one"), record(2, "two"), record(3, "three"))

	log = d.openLog(repoPrefix)
	d.mustLog(log, record(4, "four"))
	d.mustLog(log, record(5, "five"))
	d.wantLog(repoPrefix, "", 3, record(4, "four"), record(5, "five"))
}

func (d driverUnderTest) testLogFields() {
	dgst := digest.FromString("manifest")
	full := storage.Record{
		Seq: 1, Time: time.Date(2026, 1, 2, 3, 4, 5, 678_901_234, time.UTC), Who: "some\nbody \"x\" \u2028",
		Ops: []storage.Op{
			{Kind: storage.OpPutManifest, Manifest: &storage.ManifestRecord{
				Digest: dgst, MediaType: "type", Size: 7, Subject: dgst, ArtifactType: "artifact",
				Blobs: []storage.Ref{{Digest: dgst, Size: 1}}, Manifests: []storage.Ref{{Digest: dgst, Size: -1}},
				Extra: json.RawMessage(`{"a":[1,"two"]}`),
			}},
			{Kind: storage.OpSetTag, Tag: "tag", Digest: dgst, Extra: json.RawMessage(`{"b":null}`)},
			{Kind: storage.OpDeleteTag, Tag: "tag"},
			{Kind: storage.OpDeleteManifest, Digest: dgst},
			{Kind: storage.OpHideBlob, Digest: dgst},
			{Kind: storage.OpShowBlob, Digest: dgst},
			{Kind: storage.OpAdoptIndex, Digest: dgst},
		},
	}

	d.mustLog(d.openLog(repoPrefix), full)
	d.wantLog(repoPrefix, "", 0, full)
}

func (d driverUnderTest) testLogVoid() {
	log := d.openLog(repoPrefix)
	d.mustLog(log, record(1, "one"))
	d.must(log.Append(d.T.Context(), []storage.Record{record(2, "void"), record(3, "void")}))
	d.mustLog(log, record(2, "two"))
	d.wantLog(repoPrefix, "", 0, record(1, "one"), record(2, "two"))
	d.mustLog(log, record(3, "three"))
	d.wantLog(repoPrefix, "", 0, record(1, "one"), record(2, "two"), record(3, "three"))
}

// testLogVoidTwice voids the first batch of a log, the same batch twice, and one
// behind a checkpoint.
func (d driverUnderTest) testLogVoidTwice() {
	log := d.openLog(repoPrefix)
	d.must(log.Append(d.T.Context(), []storage.Record{record(1, "void")}))
	d.must(log.Append(d.T.Context(), []storage.Record{record(1, "void, too"), record(2, "void")}))
	d.mustLog(log, record(1, "one"))
	d.wantLog(repoPrefix, "", 0, record(1, "one"))

	d.mustCheckpoint(log, 1, "state 1", "{}")
	d.must(log.Append(d.T.Context(), []storage.Record{record(2, "void")}))
	d.mustLog(log, record(2, "two"))
	d.mustLog(log, record(3, "three"))
	d.wantLog(repoPrefix, "state 1", 1, record(2, "two"), record(3, "three"))
}

func (d driverUnderTest) testLogApart() {
	d.mustLog(d.openLog("a/"), record(1, "a"))
	d.mustLog(d.openLog("a/b/"), record(1, "b"))
	d.wantLog("a/", "", 0, record(1, "a"))
	d.wantLog("a/b/", "", 0, record(1, "b"))
	d.wantLog("a/c/", "", 0)
}

func (d driverUnderTest) testCheckpoint() {
	log := d.openLog(repoPrefix)
	d.mustLog(log, record(1, "one"))
	d.mustLog(log, record(2, "two"))
	d.mustCheckpoint(log, 2, "state 2", "index 2")
	d.wantLog(repoPrefix, "state 2", 2)

	d.mustLog(log, record(3, "three"))
	d.wantLog(repoPrefix, "state 2", 2, record(3, "three"))

	d.mustCheckpoint(log, 3, "state 3", "index 3")
	d.wantLog(repoPrefix, "state 3", 3)

	newest := "state 3"

	if !d.Remote() { // elsewhere another replica may have been first, with the same
		newest = "state 3 again"
		d.mustCheckpoint(log, 3, newest, "index 3")
		d.wantLog(repoPrefix, newest, 3)
	}

	d.mustLog(d.openLog(repoPrefix), record(4, "four"))
	d.wantLog(repoPrefix, newest, 3, record(4, "four"))
}

func (d driverUnderTest) testCheckpointTail() {
	log := d.openLog(repoPrefix)
	for seq := range uint64(5) {
		d.mustLog(log, record(seq+1, "x"))
	}

	d.mustCheckpoint(log, 3, "state 3", "index 3")
	d.mustLog(log, record(6, "x"))
	d.wantLog(repoPrefix, "state 3", 3, record(4, "x"), record(5, "x"), record(6, "x"))
}

func (d driverUnderTest) testCheckpointBefore() {
	log := d.openLog(repoPrefix)

	for seq := range uint64(3) {
		d.mustLog(log, record(seq+1, "x"))
		d.mustCheckpoint(log, seq+1, fmt.Sprint("state ", seq+1), "index")
	}

	for _, seq := range []uint64{2, 3} {
		body, err := log.OpenCheckpoint(d.T.Context(), seq)
		d.must(err)

		if got := d.drain(body); got != fmt.Sprint("state ", seq) {
			d.T.Errorf("checkpoint %d is %q", seq, got)
		}
	}

	_, err := log.OpenCheckpoint(d.T.Context(), 4)
	d.wantErr(err, fs.ErrNotExist)
}

func (d driverUnderTest) testCheckpointLower() {
	log := d.openLog(repoPrefix)
	d.mustLog(log, record(1, "one"), record(2, "two"))
	d.mustCheckpoint(log, 2, "state 2", "index 2")
	d.mustCheckpoint(log, 1, "state 1", "index 1")
	d.wantLog(repoPrefix, "state 2", 2)
	d.mustCheckpoint(d.openLog(repoPrefix), 1, "state 1", "index 1")
	d.wantLog(repoPrefix, "state 2", 2)
}

func (d driverUnderTest) testCheckpointFails() {
	log := d.openLog(repoPrefix)
	d.mustLog(log, record(1, "one"))

	broken := errors.New("no checkpoint today")
	fails := func(w io.Writer) error {
		if _, err := io.WriteString(w, "half"); err != nil {
			return err
		}

		return broken
	}

	d.wantErr(log.Checkpoint(d.T.Context(), 1, fails, writes("index")), broken)

	if !d.Remote() { // it writes no index.json
		d.wantErr(log.Checkpoint(d.T.Context(), 1, writes("state"), fails), broken)
	}

	d.wantLog(repoPrefix, "", 0, record(1, "one"))
	d.mustLog(log, record(2, "two"))
	d.wantLog(repoPrefix, "", 0, record(1, "one"), record(2, "two"))
}

// testCheckpointOverlap appends from the functions that write a checkpoint, and
// after it.
func (d driverUnderTest) testCheckpointOverlap() {
	log := d.openLog(repoPrefix)
	d.mustLog(log, record(1, "one"))

	during := func(seq uint64) func(io.Writer) error {
		return func(w io.Writer) error {
			d.mustLog(log, record(seq, "x"))
			d.refresh(log, seq)

			return writes("body")(w)
		}
	}

	d.must(log.Checkpoint(d.T.Context(), 1, during(2), during(3)))

	if d.Remote() { // it writes no index.json
		d.mustLog(log, record(3, "x"))
	}

	d.mustLog(log, record(4, "x"))
	d.wantLog(repoPrefix, "body", 1, record(2, "x"), record(3, "x"), record(4, "x"))

	d.mustCheckpoint(log, 4, "state 4", "index 4")
	d.wantLog(repoPrefix, "state 4", 4)
}

func (d driverUnderTest) testRefreshQuiet() {
	log := d.openLog(repoPrefix)
	quiet := func(seq uint64) {
		d.T.Helper()

		if c := d.refresh(log, seq); c.Reload || c.Index || len(c.Records) > 0 {
			d.T.Errorf("Refresh tells of changes where there are none: %+v", c)
		}
	}

	quiet(0)
	d.must(log.Append(d.T.Context(), []storage.Record{record(1, "one")}))

	if !d.Remote() {
		quiet(0) // it may not be durable yet
	}

	d.must(d.Sync(d.T.Context()))
	quiet(1)
	d.mustCheckpoint(log, 1, "state", "index")
	quiet(1)
	d.mustLog(log, record(2, "two"))
	quiet(2)
}

// testForeignIndex writes index.json as another program would: as an object.
func (d driverUnderTest) testForeignIndex() {
	d.mustPut(repoPrefix+"index.json", "was there before")

	log := d.openLog(repoPrefix)
	d.wantForeign(log, 0)
	d.takeIndex(log, "was there before")

	if d.refresh(log, 0).Index {
		d.T.Error("Refresh tells of an index.json that was taken in")
	}

	d.mustPut(repoPrefix+"index.json", "written by another program")
	d.wantForeign(log, 0)
	d.wantForeign(log, 0)
	d.takeIndex(log, "written by another program")
	d.mustLog(log, record(1, "one"))
	d.mustCheckpoint(log, 1, "state", "ours")
	d.wantIndex(log, "ours")

	if d.refresh(log, 1).Index {
		d.T.Error("Refresh takes our own index.json for another program's")
	}
}

func (d driverUnderTest) wantForeign(log storage.Log, seq uint64) {
	d.T.Helper()

	if !d.refresh(log, seq).Index {
		d.T.Error("Refresh does not tell of an index.json that was not taken in")
	}
}

// takeIndex takes in what index.json says.
func (d driverUnderTest) takeIndex(log storage.Log, want string) {
	d.T.Helper()

	index, err := log.OpenIndex(d.T.Context())
	d.must(err)

	if got := d.drain(index); got != want {
		d.T.Errorf("index.json is %q, want %q", got, want)
	}

	log.TookIndex(index.Version)
}

func (d driverUnderTest) wantIndex(log storage.Log, want string) {
	d.T.Helper()

	index, err := log.OpenIndex(d.T.Context())
	d.must(err)

	if got := d.drain(index); got != want {
		d.T.Errorf("index.json is %q, want %q", got, want)
	}
}

func (d driverUnderTest) testForeignKept() {
	log := d.openLog(repoPrefix)
	d.mustLog(log, record(1, "one"))
	d.mustCheckpoint(log, 1, "state", "ours")
	d.mustLog(log, record(2, "two"))
	d.mustPut(repoPrefix+"index.json", "written by another program")

	err := log.Checkpoint(d.T.Context(), 2, writes("state 2"), writes("ours, too"))
	d.wantErr(err, storage.ErrConflict)
	d.wantIndex(log, "written by another program")
	d.wantLog(repoPrefix, "state", 1, record(2, "two"))

	d.wantForeign(log, 2)
	d.takeIndex(log, "written by another program")
	d.mustCheckpoint(log, 2, "state 2", "ours, too")
	d.wantIndex(log, "ours, too")
}

func (d driverUnderTest) testListLogs() {
	d.mustLog(d.openLog("a/"), record(1, "x"))
	d.mustLog(d.openLog("a/b/c/"), record(1, "x"))
	d.mustLog(d.openLog("blobs/"), record(1, "x"))
	d.mustLog(d.openLog("n/blobs/b/"), record(1, "x"))
	d.mustCheckpoint(d.openLog("a/b/c/"), 1, "state", "index")
	d.mustPut("foreign/index.json", "{}")
	d.mustPut("n/blobs/sha256/00", "a blob")
	d.mustPut("_repos/a", "")
	d.openLog("only/opened/")

	var got []string

	for log, err := range d.ListLogs(d.T.Context()) {
		d.must(err)

		got = append(got, log.Prefix)

		if want := log.Prefix != "a/b/c/" && log.Prefix != "foreign/"; log.Behind != want {
			d.T.Errorf("%s has records behind its checkpoint: %v", log.Prefix, log.Behind)
		}
	}

	slices.Sort(got)

	if want := []string{"a/", "a/b/c/", "blobs/", "foreign/", "n/blobs/b/"}; !slices.Equal(got, want) {
		d.T.Errorf("ListLogs yields %q, want %q", got, want)
	}
}
