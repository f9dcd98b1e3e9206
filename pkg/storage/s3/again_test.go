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

// TestPushHealsUnnoticed: a push puts right what nobody has found wrong yet, in whatever way its
// bytes come. A mount leaves that to a push.
func TestPushHealsUnnoticed(t *testing.T) {
	gone := func(c *checkedBucket, part string) { c.remove(part) }
	cut := func(c *checkedBucket, part string) { c.put(part, "cut") }
	inParts := strings.Repeat("a layer in parts", 400_000)

	for name, one := range map[string]struct {
		layer, place string
		dedupe       bool
		harm         func(c *checkedBucket, part string)
	}{
		"a byte is flipped":       {"layer of x", "in/a/own.", true, func(c *checkedBucket, part string) { c.flip(part, 2) }},
		"it is gone":              {"layer of x", "in/a/own.", true, gone},
		"it is cut":               {"layer of x", "in/a/own.", true, cut},
		"in parts, gone":          {inParts, "data.0", true, gone},
		"in parts, cut":           {inParts, "data.0", true, cut},
		"in parts, its own, gone": {inParts, "in/a/own.", false, gone},
		"in parts, its own, cut":  {inParts, "in/a/own.", false, cut},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCheckedBucket(t, newBench(t))
			c.opts.Dedupe, c.opts.PartSize = one.dedupe, 5<<20

			w := c.replica()
			w.Push("b", "x", one.layer)
			w.Push("a", "x", one.layer)

			dgst := digest.FromString(one.layer)
			one.harm(c, dgst.Encoded()+"/"+one.place)

			if strings.HasSuffix(name, "gone") || strings.HasSuffix(name, "cut") {
				err := c.replica().Store.MountBlob(t.Context(), "a", dgst, "b", "")
				w.Is(err, storage.ErrBlobUnknown, "mount")
			}

			again := c.replica()
			again.Blob("a", one.layer)
			again.True(again.Pull("a", dgst) == one.layer, "what is pulled")
			again.True(c.replica().Pull("a", dgst) == one.layer, "what another replica pulls")
			again.Equal(problems(c.check(storage.CheckOptions{})), "", "what is left")
		})
	}
}
