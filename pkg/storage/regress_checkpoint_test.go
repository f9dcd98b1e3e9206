package storage_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"zotregistry.io/zot/pkg/storage/storagetest"
)

func isCheckpoint(name string) bool { return strings.HasPrefix(name, "checkpoint log") }

// TestCheckpointIsTriedAgain: one that failed is written a little later, without
// another push.
func TestCheckpointIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := storagetest.NewMemory()
		fault := storagetest.NewFault(memory.Driver())
		w := storagetest.OpenOn(t, fault, storagetest.NewMapCache(), quiet)
		w.Push("a", "t", "layer")
		fault.FailAt(1, storagetest.NotDone, isCheckpoint)
		time.Sleep(time.Minute)
		w.Equal(fault.Hit(), "checkpoint log a/", "what failed")

		_, err := memory.Driver().Stat(t.Context(), "a/index.json")
		w.NoError(err, "index.json is there all the same")
	})
}

// TestKilledProcessLeavesNoStaleIndex: what the process before could not write is
// written by the next one, even if nobody pushes.
func TestKilledProcessLeavesNoStaleIndex(t *testing.T) {
	for name, work := range map[string]func(*storagetest.World){
		"that only serves a pull":           func(w *storagetest.World) { w.MustGet("a", "t") },
		"that does nothing for a minute":    func(*storagetest.World) { time.Sleep(time.Minute) },
		"that is left alone after its pull": func(w *storagetest.World) { w.MustGet("a", "t"); time.Sleep(time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				memory := storagetest.NewMemory()
				dead := openProcess(t, memory.Driver())
				dead.Push("a", "t", "layer")
				kill(dead)

				next := openProcess(t, memory.Driver())
				work(next)
				mustClose(next)

				_, err := memory.Driver().Stat(t.Context(), "a/index.json")
				next.NoError(err, "index.json")
			})
		})
	}
}

// TestIdleStoreLooksAtNothing: a push that comes while the checkpoint is about to be
// written is covered by it, or by the next one. Then there is nothing to do.
func TestIdleStoreLooksAtNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			w    *storagetest.World
			push atomic.Bool
		)

		busy := &spy{Driver: storagetest.NewMemory().Driver(), onRefresh: func() {
			if push.CompareAndSwap(true, false) {
				w.Push("a", "again", "again")
			}
		}}
		fault := storagetest.NewFault(busy)
		w = storagetest.OpenOn(t, fault, storagetest.NewMapCache(), quiet)
		w.Push("a", "t", "layer")
		time.Sleep(9500 * time.Millisecond) // the checkpoint is due 10 s after the push
		push.Store(true)
		time.Sleep(time.Minute)
		w.True(!push.Load(), "a push came meanwhile")
		fault.FailAt(0, storagetest.NotDone, nil)
		time.Sleep(time.Minute)

		for _, name := range fault.Names() {
			w.True(!strings.HasPrefix(name, "refresh log") && !isCheckpoint(name), "nothing is done in an idle minute", name)
		}
	})
}
