//go:build replicas

package replicas

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"zotregistry.io/zot/internal/wire"
)

// seenWithin is how soon a deletion is seen at the other replicas.
const seenWithin = 5 * time.Second

// TestPullAfterPush: what one replica has acknowledged another serves at once, be the tag
// a new one or one that it has just served with another image.
func TestPullAfterPush(t *testing.T) {
	c := newCluster(t)
	c.add(t, 3, nil)

	for n := range 30 {
		img := mustImage(t, uint64(n), 500, 70_000)
		pusher := c.replicas[n%3]

		for _, tag := range []string{fmt.Sprint("new", n), "moved"} {
			must(t, pusher.PushImage(t.Context(), "fresh", tag, img, (*wire.Client).PushMonolithic))

			for i := range 2 {
				c.verifyImage(t, (n+1+i)%3, "fresh", tag, img)
			}
		}
	}
}

// verifyImage pulls an image from a replica.
func (c *cluster) verifyImage(t *testing.T, i int, repo, ref string, img *wire.Image) {
	t.Helper()

	body, err := c.replicas[i].PullImage(t.Context(), repo, ref)
	if got := digest.FromBytes(body); err != nil || got != img.Digest {
		t.Errorf("replica %d: %s:%s is %s (%v), acknowledged was %s", i, repo, ref, got, err, img.Digest)
	}
}

// TestDeletionIsSeen: what was deleted at one replica, by its digest, is gone at all of
// them: the tags at once, the rest within five seconds.
func TestDeletionIsSeen(t *testing.T) {
	c := newCluster(t)
	c.add(t, 3, nil)

	img := mustImage(t, 1, 5000)
	push := func(at int) {
		must(t, c.replicas[at].PushImage(t.Context(), "gone", "v1", img, (*wire.Client).PushMonolithic))

		for i := range c.replicas {
			c.verifyImage(t, i, "gone", "v1", img)
			c.verifyImage(t, i, "gone", img.Digest.String(), img)
		}
	}

	push(0)
	must(t, c.replicas[0].DeleteManifest(t.Context(), "gone", img.Digest.String()))

	for i, r := range c.replicas {
		if _, _, err := r.Manifest(t.Context(), "gone", "v1"); !errors.Is(err, wire.ErrNotFound) {
			t.Errorf("replica %d still knows the tag: %v", i, err)
		}
	}

	c.awaitGone(t, "manifest", func(r *replica) error {
		_, _, err := r.Manifest(t.Context(), "gone", img.Digest.String())

		return err
	})

	for _, blob := range img.Blobs {
		dgst := digest.FromBytes(blob)
		must(t, c.replicas[1].DeleteBlob(t.Context(), "gone", dgst))

		c.awaitGone(t, "blob", func(r *replica) error {
			_, err := r.Blob(t.Context(), "gone", dgst)

			return err
		})
	}

	push(2) // it comes back, everywhere
}

func (c *cluster) awaitGone(t *testing.T, what string, read func(*replica) error) {
	t.Helper()

	begun := time.Now()

	for i, r := range c.replicas {
		await(t, seenWithin-time.Since(begun), fmt.Sprintf("replica %d: the %s is gone", i, what), func() bool {
			err := read(r)
			if err != nil && !errors.Is(err, wire.ErrNotFound) {
				t.Errorf("replica %d: %v", i, err)
			}

			return errors.Is(err, wire.ErrNotFound)
		})
	}
}

// TestDedupeIsSwitched: whether equal blobs are kept once may be changed on a bucket with
// content. All stays readable, and can be deleted.
func TestDedupeIsSwitched(t *testing.T) {
	for _, dedupe := range []bool{true, false} {
		t.Run(fmt.Sprintf("from %v", dedupe), func(t *testing.T) {
			c := newCluster(t)
			c.add(t, 1, settings{"dedupe": dedupe})
			zot := c.replicas[0]
			first, second := mustImage(t, 1, 5000, 17<<20), mustImage(t, 2, 5000)

			c.push(t, 0, first, "a", "b")
			zot.restart(t, settings{"dedupe": !dedupe})
			c.verify(t, first, "a", "b")

			c.push(t, 0, first, "a", "c")
			c.push(t, 0, second, "c")
			c.mount(t, 0, first, "b", "d")
			c.verify(t, first, "a", "b", "c", "d")

			c.deleteAll(t, 0, first, "a", "c")
			c.verify(t, first, "b", "d")
			c.verify(t, second, "c")

			zot.restart(t, settings{"dedupe": dedupe})
			c.verify(t, first, "b", "d")
			c.verify(t, second, "c")

			c.deleteAll(t, 0, first, "b")
			c.push(t, 0, first, "a")
			c.verify(t, first, "a", "d")

			c.deleteAll(t, 0, first, "a", "d")
			c.deleteAll(t, 0, second, "c")
			c.verifyGone(t, first, "a", "b", "c", "d")
		})
	}
}

// TestDedupeDiffers: replicas that keep equal blobs once, and one that does not, work
// side by side.
func TestDedupeDiffers(t *testing.T) {
	c := newCluster(t)
	c.add(t, 1, settings{"dedupe": true})
	c.add(t, 1, settings{"dedupe": false})
	c.add(t, 1, settings{"dedupe": true})

	for round := range 3 {
		img := mustImage(t, uint64(round), 3000, 300<<10, 6<<20)
		repos := []string{"one", "two", "shared"}

		var group errgroup.Group

		for i := range c.replicas {
			for _, repo := range []string{repos[i%2], "shared"} {
				group.Go(func() error {
					return c.replicas[i].PushImage(t.Context(), repo, img.Digest.Encoded(), img, (*wire.Client).PushMonolithic)
				})
			}
		}

		must(t, group.Wait())
		c.verify(t, img, repos...)

		c.mount(t, 0, img, "two", "zero")
		c.mount(t, 1, img, "one", "three")

		c.deleteAll(t, round%3, img, "one")
		c.verify(t, img, "two", "shared", "zero", "three")
		c.deleteAll(t, (round+1)%3, img, "two", "shared")
		c.verify(t, img, "zero", "three")
		c.verifyGone(t, img, repos...)
	}
}

// push pushes an image at a replica to repositories, under its digest as the tag.
func (c *cluster) push(t *testing.T, i int, img *wire.Image, repos ...string) {
	t.Helper()

	for _, repo := range repos {
		must(t, c.replicas[i].PushImage(t.Context(), repo, img.Digest.Encoded(), img, (*wire.Client).PushStreamed))
	}
}

// mount has a repository hold an image of another one. A blob that cannot be mounted is
// pushed, as clients do.
func (c *cluster) mount(t *testing.T, i int, img *wire.Image, from, to string) {
	t.Helper()

	r := c.replicas[i]

	for _, blob := range img.Blobs {
		mounted, err := r.MountBlob(t.Context(), to, digest.FromBytes(blob), from)
		must(t, err)

		if !mounted {
			t.Errorf("replica %d: a blob of %d bytes is not mounted from %s to %s", i, len(blob), from, to)
			must(t, r.PushMonolithic(t.Context(), to, blob))
		}
	}

	must(t, r.PutManifest(t.Context(), to, img.Digest.Encoded(), "application/vnd.oci.image.manifest.v1+json", img.Manifest))
}

// verify pulls an image from repositories, at every replica.
func (c *cluster) verify(t *testing.T, img *wire.Image, repos ...string) {
	t.Helper()

	for i := range c.replicas {
		for _, repo := range repos {
			c.verifyImage(t, i, repo, img.Digest.Encoded(), img)
		}
	}
}

// deleteAll deletes an image and its blobs from repositories.
func (c *cluster) deleteAll(t *testing.T, i int, img *wire.Image, repos ...string) {
	t.Helper()

	for _, repo := range repos {
		must(t, c.replicas[i].DeleteManifest(t.Context(), repo, img.Digest.String()))

		for _, blob := range img.Blobs {
			must(t, c.replicas[i].DeleteBlob(t.Context(), repo, digest.FromBytes(blob)))
		}
	}
}

// verifyGone awaits that an image's layer is gone from repositories.
func (c *cluster) verifyGone(t *testing.T, img *wire.Image, repos ...string) {
	t.Helper()

	for _, repo := range repos {
		c.awaitGone(t, "layer", func(r *replica) error {
			exists, err := r.BlobExists(t.Context(), repo, digest.FromBytes(img.Blobs[1]))
			if err == nil && !exists {
				err = wire.ErrNotFound
			}

			return err
		})
	}
}
