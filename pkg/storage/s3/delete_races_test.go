//go:build remote

package s3_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// deleting is a client that deletes a blob while another one, at another replica, pushes a
// manifest that needs it: the layer, which was uploaded before, or the manifest's own bytes.
type deleting struct {
	*heap

	layer  string
	victim digest.Digest
}

func newDeleting(t *testing.T, b *bench, layer string, itself bool) *deleting {
	t.Helper()

	d := &deleting{heap: newHeap(t, b), layer: layer, victim: digest.FromString(layer)}
	if itself {
		d.victim = digest.FromBytes(manifestBody(layer))
	}

	d.Push("a", "keep", "kept")
	d.Blob("a", layer)

	return d
}

func (d *deleting) push(w *storagetest.World) error {
	_, err := w.Put(storage.ManifestPut{Repo: "a", Tags: []storage.Tag{"new"}, Body: manifestBody(d.layer)})

	return err
}

func (d *deleting) delete(w *storagetest.World) error {
	return w.Store.DeleteBlob(w.T.Context(), "a", d.victim, "")
}

// check says whether each was told what has happened: a push that was answered is there
// whole, and stays; one that was not is refused for want of the blob.
func (d *deleting) check(pushed, deleted error) {
	d.T.Helper()
	d.T.Log("push: ", pushed, " delete: ", deleted)

	var missing *storage.MissingError

	switch {
	case pushed == nil:
		checkImage(d.fresh().World, "a", d.fresh().MustGet("a", "new"))
		d.collectAll()
		checkImage(d.fresh().World, "a", d.fresh().MustGet("a", "new"))
	case !errors.As(pushed, &missing):
		d.T.Errorf("push: %v", pushed)
	case deleted != nil:
		d.T.Errorf("neither the push nor the deletion was done: %v", deleted)
	}

	if deleted != nil && !errors.Is(deleted, storage.ErrInUse) && !errors.Is(deleted, storage.ErrBlobUnknown) {
		d.T.Errorf("delete: %v", deleted)
	}

	if _, err := d.fresh().TryPush("a", "again", d.layer); err != nil {
		d.T.Errorf("push once more: %v", err)
	}

	checkImage(d.fresh().World, "a", d.fresh().MustGet("a", "again"))
	checkImage(d.fresh().World, "a", d.fresh().MustGet("a", "keep"))
}

// TestDeletedUnderPush stops each request of one of the two, and has the other one be whole
// meanwhile.
func TestDeletedUnderPush(t *testing.T) {
	b := newBench(t)

	for name, layer := range map[string]string{"small": "small", "shared": shared} {
		for what, itself := range map[string]bool{"layer": false, "manifest": true} {
			t.Run(fmt.Sprint(name, " ", what, ", push stopped"), func(t *testing.T) {
				eachStop(t, func(t *testing.T, n int) bool {
					d := newDeleting(t, b, layer, itself)
					slow := d.slow()

					var pushed, deleted error

					more := d.stopAt(n, func() { pushed = d.push(slow.World) }, func() { deleted = d.delete(d.World) })
					d.check(pushed, deleted)

					return more
				})
			})
			t.Run(fmt.Sprint(name, " ", what, ", deletion stopped"), func(t *testing.T) {
				eachStop(t, func(t *testing.T, n int) bool {
					d := newDeleting(t, b, layer, itself)
					slow := d.slow()

					if itself { // it is there, and nothing names it any more
						d.NoError(d.push(d.World), "push")
						d.NoError(d.Delete("a", string(d.victim), storage.Precondition{}), "delete the manifest")
					}

					var pushed, deleted error

					more := d.stopAt(n, func() { deleted = d.delete(slow.World) }, func() { pushed = d.push(d.World) })
					if more {
						d.check(pushed, deleted)
					}

					return more
				})
			})
		}
	}
}

// eachStop calls try with 1, 2, 3, ... until it says that there was nothing to stop.
func eachStop(t *testing.T, try func(t *testing.T, n int) (more bool)) {
	t.Helper()

	n := 0
	for more := true; more && !t.Failed(); {
		n++
		t.Run(fmt.Sprint(n), func(t *testing.T) { more = try(t, n) })
	}

	if n < 3 {
		t.Errorf("there were %d requests only", n-1)
	}
}

// TestUploadBesideDeletion: a blob that is pushed at a replica that has not heard of its
// deletion yet is there, and a manifest may name it.
func TestUploadBesideDeletion(t *testing.T) {
	b := newBench(t)

	for name, layer := range map[string]string{"small": "small", "shared": shared} {
		t.Run(name, func(t *testing.T) {
			d := newDeleting(t, b, layer, false)
			other := d.fresh()
			d.NoError(other.Stat("a", d.victim), "stat") // it has looked at the repository now
			d.NoError(d.delete(d.World), "delete")

			_, err := other.TryBlob("a", layer)
			d.NoError(err, "upload")
			d.NoError(d.push(other.World), "push")
			d.check(nil, nil)
		})
	}
}
