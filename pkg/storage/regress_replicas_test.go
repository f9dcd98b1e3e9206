package storage_test

import (
	"context"
	"testing"
	"time"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// lazy is a driver that looks at a log only for whom what was a moment ago will not do.
type lazy struct{ storage.Driver }

func (d lazy) OpenLog(ctx context.Context, prefix string) (storage.Log, error) {
	log, err := d.Driver.OpenLog(ctx, prefix)

	return lazyLog{log}, err
}

type lazyLog struct{ storage.Log }

func (l lazyLog) Refresh(ctx context.Context, seq uint64, since time.Time) (storage.Changes, error) {
	if time.Since(since) > storage.Staleness/2 {
		return storage.Changes{}, nil
	}

	return l.Log.Refresh(ctx, seq, since)
}

// TestConditionsAreOfNow: another replica has changed a tag a moment ago; a condition is
// decided against what the tag is now.
func TestConditionsAreOfNow(t *testing.T) {
	memory := storagetest.NewMemory()
	memory.Remote = true

	one := storagetest.OpenOn(t, lazy{memory.Driver()}, storagetest.NewMapCache(), quiet)
	two := storagetest.OpenOn(t, lazy{memory.Driver()}, storagetest.NewMapCache(), quiet)

	image := one.Push("a", "v1", "layer")
	put := func(w *storagetest.World, cond storage.Precondition) error {
		_, err := w.Put(storage.ManifestPut{Repo: "a", Tags: []storage.Tag{"v1"}, Body: image.Body, If: cond})

		return err
	}

	two.Is(put(two, storage.Precondition{NoneAny: true}), storage.ErrPrecondition, "the tag exists")
	one.NoError(one.Store.DeleteManifest(t.Context(), "a", storage.Reference{Tag: "v1"}, storage.Precondition{}, ""), "delete the tag")
	two.NoError(put(two, storage.Precondition{NoneAny: true}), "create the tag that is gone")
	one.NoError(put(one, storage.Precondition{MatchAny: true}), "replace the tag that is back")

	other := two.Push("a", "other", "another layer")
	move := func(w *storagetest.World) error {
		_, err := w.Put(storage.ManifestPut{
			Repo: "a", Tags: []storage.Tag{"v1"}, Body: other.Body, If: storage.Precondition{NoMove: true},
		})

		return err
	}

	two.Is(move(two), storage.ErrTagChange, "a tag is moved by one who may not")
	one.NoError(one.Store.DeleteManifest(t.Context(), "a", storage.Reference{Tag: "v1"}, storage.Precondition{}, ""), "delete it again")
	two.NoError(move(two), "it is not moved, but made")
}
