package storage_test

import (
	"sync/atomic"
	"testing"
	"time"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// TestRetentionFaults lets each operation of the driver fail, one after the other, while GC
// removes what a policy does not keep: nothing goes that should stay, and the next run does
// the rest, also after a power cut.
func TestRetentionFaults(t *testing.T) {
	storagetest.EachFault(t, func(t *testing.T, n int, mode storagetest.FaultMode) *storagetest.Fault {
		policy := keepTags(rule(storage.Keep{PulledWithin: day}))
		g := openGarden(t, storagetest.NewMemory(), policy)
		g.opts.GC.Retention.Delay = new(time.Duration)

		fault := storagetest.NewFault(g.memory.Driver())
		g.World = openWith(t, fault, g.opts)
		g.wait(2 * gardenDelay)
		g.run([]step{
			{100, "push", "pulled"},
			{100, "push", "old"},
			{100, "attach", "pulled"},
			{100, "put", "x"},
			{5, "pull", "pulled"},
		})

		var armed atomic.Bool

		armed.Store(true)
		fault.FailAt(n, mode, func(string) bool { return armed.Load() })

		_, failed := g.Store.Collect(t.Context())
		hit := fault.Hit()

		armed.Store(false)
		g.Equal(g.Tags("a", "pullec", 1), "pulled", "a tag that stays")

		if _, err := g.Store.Collect(t.Context()); err != nil {
			t.Errorf("after %q failed (%v) the next run failed: %v", hit, failed, err)
		}

		mustClose(g.World)
		g.memory.Crash()

		again := g.own()
		again.Equal(again.Tags("a", "", -1), "pulled", "tags that are left")
		again.Equal(again.manifests(), "pulled, referrer of pulled", "manifests that are left")
		again.collect()
		again.Equal(again.Tags("a", "", -1), "pulled", "tags that a run leaves after a power cut")
		mustClose(again.World)

		return fault
	})
}

// openWith opens a store that the test ends itself.
func openWith(t *testing.T, driver storage.Driver, opts storage.Options) *storagetest.World {
	t.Helper()

	store, err := storage.Open(t.Context(), driver, storagetest.NewMapCache(), opts)
	if err != nil {
		t.Fatal(err)
	}

	return &storagetest.World{T: t, Driver: driver, Store: store}
}
