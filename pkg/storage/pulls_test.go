package storage_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// pulledToday keeps tags that were pulled within a day.
var pulledToday = keepTags(rule(storage.Keep{PulledWithin: day}))

// reopen ends a store and opens another one on its root, with policies of its own.
func (g gardenWorld) reopen(policies ...storage.Policy) gardenWorld {
	g.T.Helper()
	mustClose(g.World)

	g.opts.GC.Retention.Policies = policies

	return g.own()
}

// own opens another store on the same root, which the test ends itself.
func (g gardenWorld) own() gardenWorld {
	g.T.Helper()

	g.World = openWith(g.T, g.memory.Driver(), g.opts)
	g.wait(2 * gardenDelay)

	return g
}

// pullObjects lists the keys of pull times.
func (g gardenWorld) pullObjects() []string {
	g.T.Helper()

	var keys []string

	for info, err := range g.Driver.List(g.T.Context(), storage.PullsKey("a", ""), "") {
		g.NoError(err, "list pull times")

		keys = append(keys, info.Key)
	}

	return keys
}

func TestPullsSurviveRestart(t *testing.T) {
	g := openGarden(t, storagetest.NewMemory(), pulledToday).own()
	g.run([]step{{100, "push", "pulled"}, {100, "push", "not"}, {50, "pull", "not"}, {20, "pull", "pulled"}})

	g = g.reopen(pulledToday)
	g.collect()
	g.Equal(g.Tags("a", "", -1), "pulled", "tags after a restart")
	g.wait(2 * time.Hour)
	g.collect()
	g.Equal(g.Tags("a", "", -1), "", "tags a day after the last pull")
	mustClose(g.World)
}

// TestPullsUnknown: where nobody has noted pulls, all counts as pulled when that begins.
func TestPullsUnknown(t *testing.T) {
	g := openGarden(t, storagetest.NewMemory()).own()
	g.run([]step{{100, "push", "v1"}, {50, "pull", "v1"}})
	g.Equal(len(g.pullObjects()), 0, "noted, though no policy asks")

	g = g.reopen(pulledToday)
	g.wait(day - 3*time.Hour)
	g.collect()
	g.Equal(g.Tags("a", "", -1), "v1", "tags before anything can be known")

	g.wait(2 * time.Hour)
	g.collect()
	g.Equal(g.Tags("a", "", -1), "", "tags a day later")

	g = g.reopen()
	g.collect()
	g.Equal(len(g.pullObjects()), 0, "kept, though no policy asks any more")
	mustClose(g.World)
}

// TestPullsOfReplicas: GC at one replica knows what was pulled at the others, and takes over
// what they leave.
func TestPullsOfReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := storagetest.NewMemory()
		memory.Remote = true

		g := openGarden(t, memory, pulledToday)
		other := g.another()

		ended := g.own()

		g.run([]step{{100, "push", "v1"}, {100, "push", "v2"}, {100, "push", "v3"}, {100, "push", "v4"}})
		g.do("pull", "v1")
		other.do("pull", "v2")
		ended.do("pull", "v3")
		mustClose(ended.World)
		time.Sleep(2 * time.Minute) // in which all have written

		g.collect()
		g.Equal(g.Tags("a", "", -1), "v1 v2 v3", "tags pulled anywhere")
		g.Equal(len(g.pullObjects()), 3, "objects")

		g.wait(day)
		other.do("pull", "v3")
		time.Sleep(2 * time.Minute)
		g.collect()
		g.Equal(g.Tags("a", "", -1), "v3", "tags pulled of late")
		g.Equal(len(g.pullObjects()), 2, "objects of those that write")
	})
}

// TestPullsFit: what memory has no room for counts as pulled.
func TestPullsFit(t *testing.T) {
	g := openGarden(t, storagetest.NewMemory(), pulledToday)
	g.Store.LimitPullNews(2)
	g.run([]step{
		{100, "push", "v1"},
		{100, "push", "v2"},
		{100, "push", "v3"},
		{100, "push", "v4"},
		{20, "pull", "v1"},
		{20, "pull", "v2"},
		{20, "pull", "v3"},
	})
	g.collect()
	g.Equal(g.Tags("a", "", -1), "v1 v2 v3 v4", "tags after too many pulls")
	g.wait(5 * time.Hour)
	g.collect()
	g.Equal(g.Tags("a", "", -1), "", "tags a day after them")
}

// TestPullsDamaged: what cannot be read keeps everything, for a while.
func TestPullsDamaged(t *testing.T) {
	g := openGarden(t, storagetest.NewMemory(), pulledToday)
	g.run([]step{{100, "push", "v1"}, {30, "pull", "v1"}})

	for i, damage := range []string{"", "{", `{"format":2,"pulled":{}}`, "null"} {
		g.push("new", "new")

		_, err := g.Driver.Put(t.Context(), storage.PullsKey("a", "local"), []byte(damage))
		g.NoError(err, "damage pull times")
		g.collect()
		g.True(strings.Contains(g.Tags("a", "", -1), "v1"), "tags stay", i)
		g.wait(12 * time.Hour)
	}

	g.wait(day)
	g.collect()
	g.Equal(g.Tags("a", "", -1), "", "tags a day later: what was damaged was written again")
}

// slowPulls is a driver that hangs, or fails, when pull times are written.
type slowPulls struct {
	storage.Driver

	hang chan struct{} // until it is closed
	fail bool
}

func (s *slowPulls) Put(ctx context.Context, key string, body []byte) (string, error) {
	if strings.HasPrefix(key, storage.PullsKey("a", "")) {
		<-s.hang

		if s.fail {
			s.fail = false

			return "", errors.New("no room")
		}
	}

	return s.Driver.Put(ctx, key, body)
}

// TestPullsDoNotWait: a pull does not wait for pull times being written; what could not be
// written is written later.
func TestPullsDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGarden(t, storagetest.NewMemory(), pulledToday)
		driver := &slowPulls{Driver: g.memory.Driver(), hang: make(chan struct{}), fail: true}
		g.World = storagetest.OpenOn(t, driver, storagetest.NewMapCache(), g.opts)
		g.run([]step{{100, "push", "v1"}, {100, "push", "v2"}, {100, "push", "v3"}, {5, "pull", "v1"}})

		time.Sleep(2 * time.Minute) // the write hangs
		g.Equal(len(g.pullObjects()), 0, "written")
		g.do("pull", "v2")
		close(driver.hang)
		time.Sleep(2 * time.Minute) // it has failed, and comes again

		again := g.another()
		again.wait(2 * gardenDelay)
		again.collect()
		again.Equal(again.Tags("a", "", -1), "v1 v2", "tags, as another process knows")
	})
}
