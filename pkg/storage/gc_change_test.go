package storage_test

import (
	"testing"
	"time"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// TestSetGC: other policies hold from the next look at a repository on.
func TestSetGC(t *testing.T) {
	g := openGarden(t, storagetest.NewMemory())
	g.run([]step{{100, "push", "old"}, {1, "push", "new"}})

	gc := g.opts.GC
	gc.Retention = storage.Retention{
		DryRun: true, Policies: []storage.Policy{keepTags(rule(storage.Keep{PushedWithin: 50 * time.Hour}))},
	}

	g.Equal(g.collect().Tags, 0, "tags that went without a policy")
	g.Store.SetGC(gc)
	g.Equal(g.collect().Tags, 0, "tags that went in a dry run")
	g.Equal(len(g.log.take(t, wouldRemove)) > 0, true, "the dry run says what would go")

	gc.Retention.DryRun = false
	g.Store.SetGC(gc)
	g.Equal(g.collect().Tags, 1, "tags that went")
}

// TestSetGCKeepsDelay: clients go on counting on what they were told.
func TestSetGCKeepsDelay(t *testing.T) {
	g := openGarden(t, storagetest.NewMemory())
	gc := g.opts.GC
	gc.Delay, gc.Undelete = 0, 0
	g.Store.SetGC(gc)
	g.Equal(storage.DelayOf(g.Store), gardenDelay, "delay")
}

// TestSetGCPulls: pulls were not noted by the policies of before. What is there counts as pulled
// when the new ones came.
func TestSetGCPulls(t *testing.T) {
	g := openGarden(t, storagetest.NewMemory())
	g.run([]step{{100, "push", "pulled"}, {100, "push", "old"}, {50, "pull", "pulled"}})

	gc := g.opts.GC
	gc.Retention.Policies = []storage.Policy{keepTags(rule(storage.Keep{PulledWithin: day}))}
	g.Store.SetGC(gc)
	g.Equal(g.collect().Tags, 0, "tags that went at once")

	g.wait(23 * time.Hour)
	g.Equal(g.collect().Tags, 0, "tags that went within the day")

	g.wait(2 * time.Hour)
	g.Equal(g.collect().Tags, 2, "tags that went after it")
}
