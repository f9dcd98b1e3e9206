package storage_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/rs/zerolog"

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

// hookedLog calls hook with each line.
type hookedLog struct{ hook func(line string) }

func (l hookedLog) Write(line []byte) (int, error) {
	l.hook(string(line))

	return len(line), nil
}

// TestSetGCOff: a run that has begun by itself ends when there are to be none, one that was asked
// for goes on.
func TestSetGCOff(t *testing.T) {
	g := openGarden(t, storagetest.NewMemory())
	g.run([]step{{0, "push", "old"}})

	for _, repo := range []storage.RepoName{"b", "c"} {
		g.Blob(repo, "{}")
		g.Blob(repo, "old")

		_, err := g.Put(storage.ManifestPut{Repo: repo, Body: []byte(manifestOf("old")), Tags: []storage.Tag{"old"}})
		g.NoError(err, "push")
	}

	var removed []string // repositories of which a tag was removed

	g.opts.GC.Interval = 1000 * time.Hour
	g.opts.GC.Retention.Policies = []storage.Policy{keepTags(rule(storage.Keep{PushedWithin: time.Hour}))}
	g.opts.Log = zerolog.New(hookedLog{func(line string) {
		var entry struct{ Repository, Tag, Message string }
		g.NoError(json.Unmarshal([]byte(line), &entry), line)

		if entry.Message != hasRemoved || entry.Tag == "" {
			return
		}

		removed = append(removed, entry.Repository)

		off := g.opts.GC
		off.Interval = 0
		g.Store.SetGC(off)
	}})
	g = g.another()
	g.wait(100 * time.Hour)

	g.Equal(errors.Is(g.Store.CollectWhileOn(t.Context()), context.Canceled), true, "the run was broken off")
	g.NoError(g.Store.CollectWhileOn(t.Context()), "a run that finds that there are none")
	g.Equal(fmt.Sprint(removed), "[a]", "of which repositories a tag was removed")

	g.collect()
	g.Equal(fmt.Sprint(removed), "[a b c]", "when somebody asks")
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
