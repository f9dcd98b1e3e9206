package local_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
)

// TestPurgeBesidePushes: an image is there whole, or was refused, however a purge of its
// layer falls between the requests of its push.
func TestPurgeBesidePushes(t *testing.T) {
	w := openGarbage(t)
	w.Push("a", "other", "other")

	secret := digest.FromString("secret")
	pushed := make([]error, 4)

	for round := range 40 {
		var group sync.WaitGroup

		for i := range pushed {
			group.Go(func() { _, pushed[i] = w.TryPush("a", fmt.Sprint(i), "secret", fmt.Sprint(round, i)) })
		}

		group.Go(func() {
			_, err := w.Store.Purge(t.Context(), "a", secret, storage.PurgeOptions{Force: true}, "admin")
			if err != nil && !errors.Is(err, storage.ErrBlobUnknown) && !errors.Is(err, storage.ErrPrecondition) {
				t.Errorf("purge: %v", err)
			}
		})

		group.Wait()

		for i, err := range pushed {
			var missing *storage.MissingError
			if err != nil && !errors.As(err, &missing) {
				t.Errorf("push: %v", err)
			}

			if w.Get("a", fmt.Sprint(i)) == nil {
				w.Equal(w.Pull("a", secret), "secret", "the layer of an image that is there")
			}
		}
	}
}

// TestUndeleteBesideCollect: what is brought back at the moment when GC may forget it is
// there whole, or that is refused.
func TestUndeleteBesideCollect(t *testing.T) {
	w := openGarbage(t)

	for round := range 20 {
		layer := fmt.Sprint("layer ", round)
		image := w.Push("a", "x", layer)
		w.NoError(w.Delete("a", image.Digest.String(), storage.Precondition{}), "delete")
		w.wait(undelete + time.Minute)

		var (
			group sync.WaitGroup
			back  error
		)

		group.Go(func() { _, back = w.Store.Undelete(t.Context(), "a", image.Digest, "admin") })
		group.Go(func() { w.collect() })
		group.Wait()

		if back == nil {
			w.Equal(w.MustGet("a", "x").Digest, image.Digest, "what is back")
			w.Equal(w.Pull("a", image.Blobs[1]), layer, "its layer")
		} else if !errors.Is(back, storage.ErrForgotten) && !errors.Is(back, storage.ErrRepoUnknown) {
			t.Errorf("undelete: %v", back)
		}
	}
}

// TestHistoryIsDropped: GC drops what is older than is to be kept, and no other history.
func TestHistoryIsDropped(t *testing.T) {
	dir := t.TempDir()

	w := openGarbageIn(t, dir)
	w.Push("a", "x", "one")
	w.Push("a", "x", "two")
	w.NoError(w.Store.Close(t.Context()), "close, which writes a checkpoint")

	w = openGarbageIn(t, dir)
	t.Cleanup(func() { w.NoError(w.Store.Close(context.Background()), "close") })
	w.collect()

	events, _, err := w.Store.TagHistory(t.Context(), "a", "x", 0, -1)
	w.NoError(err, "history")
	w.Equal(len(events), 2, "events that are young")

	two := w.MustGet("a", "x").Digest

	w.wait(history + time.Hour)
	w.collect()

	events, _, err = w.Store.TagHistory(t.Context(), "a", "x", 0, -1)
	w.NoError(err, "history")
	w.Equal(fmt.Sprint(len(events), events[0].Digest, events[0].Before), fmt.Sprint(1, two, ""), "events: what the state knows")

	_, err = w.Store.UndoTag(t.Context(), "a", "x", "admin")
	w.Is(err, storage.ErrForgotten, "undo of what is not known any more")
}
