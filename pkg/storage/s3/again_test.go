//go:build remote

package s3_test

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// TestPushAgain: what a manifest names is there once, however often it is pushed or mounted,
// and by whichever replica.
func TestPushAgain(t *testing.T) {
	c := newCheckedBucket(t, newBench(t))
	layers := map[string]string{"small": "small again", "large": strings.Repeat("large again ", 10_000)}

	for name, content := range layers {
		t.Run(name, func(t *testing.T) {
			w := c.replica()
			w.Push("a", "again", content)
			w.Push("b", "again", content)

			dgst := digest.FromString(content)
			members := func() int { return len(c.keys(dgst.Encoded() + "/in/a/")) }

			w.Equal(members(), 1, "memberships after the first push")

			for range 3 {
				for _, again := range []*storagetest.World{w, c.replica()} {
					again.Blob("a", content)
					again.NoError(again.Store.MountBlob(t.Context(), "a", dgst, "b", ""), "mount")
				}
			}

			w.Equal(members(), 1, "memberships in the end")
		})
	}
}

// TestPushHealsUnnoticed: a push puts right what nobody has found wrong yet.
func TestPushHealsUnnoticed(t *testing.T) {
	for name, harm := range map[string]func(c *checkedBucket, part string){
		"a byte is flipped": func(c *checkedBucket, part string) { c.flip(part, 2) },
		"it is gone":        func(c *checkedBucket, part string) { c.remove(part) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCheckedBucket(t, newBench(t))
			w := c.replica()
			w.Push("a", "x", "layer of x")

			dgst := digest.FromString("layer of x")
			harm(c, dgst.Encoded()+"/in/a/own.")

			again := c.replica()
			again.Blob("a", "layer of x")
			again.Equal(again.Pull("a", dgst), "layer of x", "what is pulled")
			c.replica().Equal(c.replica().Pull("a", dgst), "layer of x", "what another replica pulls")
			again.Equal(problems(c.check(storage.CheckOptions{})), "", "what is left")
		})
	}
}
