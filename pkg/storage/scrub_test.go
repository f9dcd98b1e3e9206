package storage_test

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// scrubEvery is the interval of the tests' schedule. A scrub begins a minute later at the most.
const scrubEvery = 2 * time.Hour

// openScrubbed opens a store that scrubs from time to time.
func openScrubbed(t *testing.T, driver storage.Driver, log *bytes.Buffer) *storagetest.World {
	t.Helper()

	store, err := storage.Open(t.Context(), driver, storagetest.NewMapCache(), storage.Options{
		Log: zerolog.New(log), Scrub: storage.ScrubSchedule{Interval: scrubEvery},
	})
	if err != nil {
		t.Fatal(err)
	}

	return &storagetest.World{T: t, Driver: driver, Store: store}
}

// TestScrubSchedule: a store reads all blobs soon after it was new, and again when the interval
// since the last time is over, whether or not it was restarted meanwhile. What is damaged is
// served until then, and not served any more; each scrub says so in the log.
func TestScrubSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer

		memory := storagetest.NewMemory()
		w := openScrubbed(t, memory.Driver(), &log)
		w.Push("a", "t", "one", "two")

		damage := func(w *storagetest.World, content string) {
			w.Overwrite("a", digest.FromString(content), strings.ToUpper(content))
		}
		served := func(w *storagetest.World, content string, want bool, when string) {
			t.Helper()
			w.Equal(w.Stat("a", digest.FromString(content)) == nil, want, content+" is served "+when)
		}

		damage(w, "one")
		time.Sleep(2 * time.Minute)
		served(w, "one", false, "after the first scrub")
		served(w, "two", true, "after the first scrub")

		damage(w, "two")
		time.Sleep(scrubEvery / 2)
		served(w, "two", true, "before the next one")
		mustClose(w)

		next := openScrubbed(t, memory.Driver(), &log)
		time.Sleep(scrubEvery/2 - 5*time.Minute)
		served(next, "two", true, "by the next process, before its time")
		time.Sleep(7 * time.Minute)
		served(next, "two", false, "when the interval is over")
		next.Equal(next.Blob("a", "two"), digest.FromString("two"), "a push heals it")
		served(next, "two", true, "after the push")
		mustClose(next)

		next.Equal(strings.Count(log.String(), `"level":"error","kind":"blob-damaged"`), 3, "findings in the log")
	})
}

// TestNoScrub: without an interval nothing is read.
func TestNoScrub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := openProcess(t, storagetest.NewMemory().Driver())
		w.Push("a", "t", "one")
		w.Overwrite("a", digest.FromString("one"), "ONE")
		time.Sleep(48 * time.Hour)
		w.NoError(w.Stat("a", digest.FromString("one")), "stat")
		mustClose(w)
	})
}
