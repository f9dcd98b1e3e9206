package storage_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// shared is a layout with an image of ours, on which a store works through a fault.
type shared struct {
	*layout

	fault *storagetest.Fault
}

func newShared(t *testing.T) *shared {
	t.Helper()

	l := newLayout(t)
	l.open()
	l.Push("a", "mine", "mine")
	l.close()

	s := &shared{layout: l, fault: storagetest.NewFault(l.memory.Driver())}
	l.openOn(s.fault)

	return s
}

// addTheirs adds an image to index.json, as another program would.
func (l *layout) addTheirs(repo storage.RepoName) {
	l.t.Helper()

	index := l.index(repo)
	index["manifests"] = append(index["manifests"].([]any), l.image(repo, "theirs", "their layer"))
	l.write(string(repo)+"/index.json", jsonOf(index))
}

// TestAdoptionIsTriedAgain: an adoption that failed is not forgotten, and no
// checkpoint replaces what could not be read.
func TestAdoptionIsTriedAgain(t *testing.T) {
	s := newShared(t)
	s.Equal(s.Tags("a", "", -1), "mine", "before")
	s.addTheirs("a")
	s.fault.FailAt(1, storagetest.NotDone, func(name string) bool { return strings.HasPrefix(name, "index of log") })
	s.Equal(s.Tags("a", "", -1), "mine", "while index.json cannot be read")
	s.Equal(s.fault.Hit(), "index of log a/", "what failed")
	s.Equal(s.Tags("a", "", -1), "mine theirs", "the next request")
	s.Push("a", "more", "more")
	s.close()
	s.open()
	s.Equal(s.Tags("a", "", -1), "mine more theirs", "in the end")
}

// TestAdoptionFailsUntilTheEnd: index.json stays as the other program wrote it.
func TestAdoptionFailsUntilTheEnd(t *testing.T) {
	s := newShared(t)
	s.addTheirs("a")

	for range 3 {
		s.fault.FailAt(1, storagetest.NotDone, func(name string) bool { return strings.HasPrefix(name, "index of log") })
		s.Push("a", "more", "more")
	}

	kill(s.World)

	s.store = nil
	s.open()
	s.Equal(s.Tags("a", "", -1), "mine more theirs", "after a restart")
}

// TestAdoptionSurvivesAClientThatLeft: the request that would have adopted is gone;
// the next one does it.
func TestAdoptionSurvivesAClientThatLeft(t *testing.T) {
	s := newShared(t)
	s.Tags("a", "", -1)
	s.addTheirs("a")

	gone, cancel := context.WithCancel(t.Context())
	cancel()

	_, _, err := s.store.ListTags(gone, "a", "", -1)
	s.Is(err, context.Canceled, "the client's request")
	s.Equal(s.Tags("a", "", -1), "mine theirs", "the next one")
}

// TestFullDiskDoesNotStopPulls: an adoption that cannot be written down leaves what is
// known as it is.
func TestFullDiskDoesNotStopPulls(t *testing.T) {
	s := newShared(t)
	s.addTheirs("a")

	full := func() {
		s.fault.FailAt(1, storagetest.NotDone, func(name string) bool { return strings.HasPrefix(name, "append log") })
	}

	full()
	s.NoError(pull(s.World, "a", "mine"), "pull what is there")
	s.Equal(s.fault.Hit(), "append log a/", "what failed")
	full()
	s.Equal(s.Tags("a", "", -1), "mine", "its tags")
	full()
	s.Equal(s.Pull("a", digestOf("mine")), "mine", "its layer")
	s.fault.FailAt(0, storagetest.NotDone, nil)
	s.Equal(s.Tags("a", "", -1), "mine theirs", "when there is room again")
}

// pull asks once for a manifest.
func pull(w *storagetest.World, repo storage.RepoName, tag storage.Tag) error {
	_, err := w.Store.GetManifest(w.T.Context(), repo, storage.Reference{Tag: tag})

	return err
}

const halfIndex = `{"schemaVersion":2,"manifests":[{"half`

// TestHalfWrittenIndexIsNotReplaced: another program may be writing it just now.
func TestHalfWrittenIndexIsNotReplaced(t *testing.T) {
	s := newShared(t)
	s.write("a/index.json", halfIndex)
	s.Equal(s.Tags("a", "", -1), "mine", "what is served")
	s.Push("a", "more", "more")
	s.close()
	s.Equal(s.text("a/index.json"), halfIndex, "index.json after a stop")
	s.open()
	s.Equal(s.Tags("a", "", -1), "mine more", "and nothing is lost")
}

func (l *layout) text(key string) string {
	l.t.Helper()

	object, err := l.memory.Driver().Open(l.t.Context(), key, storage.Whole)
	if err != nil {
		l.t.Fatal(err)
	}

	return (&storagetest.World{T: l.t}).Read(object)
}

// TestHalfWrittenIndexIsReplacedInTheEnd: what stays half-written is damage.
func TestHalfWrittenIndexIsReplacedInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared(t)
		s.write("a/index.json", halfIndex)
		s.Equal(s.Tags("a", "", -1), "mine", "what is served")
		s.Push("a", "more", "more")
		time.Sleep(50 * time.Second)
		s.Equal(s.text("a/index.json"), halfIndex, "for a minute it is left alone")
		s.Tags("a", "", -1)
		time.Sleep(50 * time.Second)
		s.Equal(len(s.entries("a")), 2, "then it is ours again")
		s.close()
		s.open()
		s.Equal(s.Tags("a", "", -1), "mine more", "and nothing is lost")
	})
}

// TestHalfWrittenAgainIsWaitedForAgain: the minute begins with each version.
func TestHalfWrittenAgainIsWaitedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared(t)

		for _, half := range []string{halfIndex, halfIndex + "-writt", halfIndex + "-written"} {
			s.write("a/index.json", half)
			s.Tags("a", "", -1)
			s.Push("a", "more", half)
			time.Sleep(50 * time.Second)
			s.Equal(s.text("a/index.json"), half, "it still grows")
		}

		s.addTheirsTo("a", "mine")
		s.Equal(s.Tags("a", "", -1), "mine more theirs", "and then is whole")
	})
}

// addTheirsTo writes an index.json that names the image of an own tag and theirs.
func (l *layout) addTheirsTo(repo storage.RepoName, own string) {
	l.t.Helper()
	l.write(string(repo)+"/index.json", jsonOf(map[string]any{
		"schemaVersion": 2, "manifests": []any{l.image(repo, own, own), l.image(repo, "theirs", "their layer")},
	}))
}

// TestConflictMeetsAForeignIndex: between the state that a push was decided on and
// its append, another replica pushes and another program writes index.json.
func TestConflictMeetsAForeignIndex(t *testing.T) {
	l := newLayout(t)
	l.open()
	l.Push("a", "mine", "mine")
	l.close()

	busy := &spy{Driver: l.memory.Driver()}
	one := storagetest.OpenOn(t, busy, storagetest.NewMapCache(), quiet)
	two := storagetest.OpenOn(t, l.memory.Driver(), storagetest.NewMapCache(), quiet)

	meanwhile := true
	busy.onAppend = func(string, []storage.Record) {
		if meanwhile {
			meanwhile = false

			two.Push("a", "two", "two")
			l.addTheirs("a")
		}
	}

	one.Push("a", "one", "one")
	one.Equal(one.Tags("a", "", -1), "mine one theirs two", "one has all")
	two.Equal(two.Tags("a", "", -1), "mine one theirs two", "and so has the other")
}
