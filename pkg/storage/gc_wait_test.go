package storage_test

import (
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// TestWaitForGC measures what pushes wait for while GC removes thousands of tags, manifests and
// blobs of the same repository, in memory: what remains is the time that GC itself is in the
// way. No request is to wait for it longer than 10 ms (docs/gc.md). That is printed, beside what
// pushes without GC take; only what no slow machine explains fails.
func TestWaitForGC(t *testing.T) {
	const images = 500

	g := openGarden(t, storagetest.NewMemory(), storage.Policy{
		Repositories: []string{"**"}, DeleteUntagged: true,
		KeepTags: []storage.KeepTags{{Patterns: []*regexp.Regexp{regexp.MustCompile("^new$")}}},
	})
	for i := range images {
		g.push(fmt.Sprint("old ", i), fmt.Sprint("old-", i))
	}

	alone := g.pushUntil(func(pushed int) bool { return pushed == images })
	t.Log("without GC:", alone)

	var all storage.Collected

	for range 3 { // tags, then manifests, then what could be brought back of them
		g.wait(gardenUndelete + gardenDelay)

		over := make(chan storage.Collected, 1)

		go func() {
			done, err := g.Store.Collect(t.Context())
			if err != nil {
				t.Errorf("collect: %v", err)
			}

			over <- done
		}()

		beside := g.pushUntil(func(int) bool { return len(over) > 0 })
		done := <-over
		t.Logf("while GC did %+v: %s", done, beside)
		g.True(beside.rare < time.Second, "what one in a thousand pushes takes", beside)

		all.Tags += done.Tags
		all.Manifests += done.Manifests
		all.Forgotten += done.Forgotten
		all.Blobs += done.Blobs
	}

	g.True(min(all.Tags, all.Manifests, all.Forgotten, all.Blobs) >= images, "what GC removed", all)
}

// waits are what pushes took.
type waits struct {
	pushes               int
	usual, rare, longest time.Duration // the median, and what one in a thousand takes longer than
}

func (w waits) String() string {
	return fmt.Sprintf("%d pushes, median %s, p99.9 %s, longest %s", w.pushes, w.usual, w.rare, w.longest)
}

// pushUntil pushes one image after the other.
func (g gardenWorld) pushUntil(over func(pushed int) bool) waits {
	g.T.Helper()

	var took []time.Duration

	for !over(len(took)) {
		begun := time.Now()
		g.push(fmt.Sprint("new ", len(g.names)), "new")
		took = append(took, time.Since(begun))
	}

	slices.Sort(took)

	last := len(took) - 1

	return waits{pushes: len(took), usual: took[last/2], rare: took[last*999/1000], longest: took[last]}
}
