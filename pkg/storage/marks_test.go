package storage_test

import (
	"context"
	"iter"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// markedDriver does something between a listing of marks and what comes of it, and before a
// mark is written.
type markedDriver struct {
	storage.Driver

	listed, putting func()
}

func (d *markedDriver) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Info, error] {
	if !strings.HasPrefix(prefix, "_damaged/") || d.listed == nil {
		return d.Driver.List(ctx, prefix, after)
	}

	return func(yield func(storage.Info, error) bool) {
		var infos []storage.Info

		for info, err := range d.Driver.List(ctx, prefix, after) {
			if err != nil {
				yield(info, err)

				return
			}

			infos = append(infos, info)
		}

		d.listed()

		for _, info := range infos {
			if !yield(info, nil) {
				return
			}
		}
	}
}

func (d *markedDriver) Put(ctx context.Context, key string, body []byte) (string, error) {
	if strings.HasPrefix(key, "_damaged/") && d.putting != nil {
		d.putting()
	}

	return d.Driver.Put(ctx, key, body)
}

// What a replica marks, or heals, counts at once and stays, whatever listing is under way.
func TestMarksWhileListing(t *testing.T) {
	memory := storagetest.NewMemory()
	memory.Remote = true

	replica := func() (*storagetest.World, *markedDriver) {
		driver := &markedDriver{Driver: memory.Driver()}

		return storagetest.OpenOn(t, driver, storage.NoCache{}, storage.Options{Log: zerolog.Nop()}), driver
	}

	one, driver := replica()
	other, _ := replica()
	dgst := digestOf("damaged")

	driver.listed = func() { one.NoError(one.Store.Mark(t.Context(), dgst, "pool.0"), "mark") }
	one.NoError(one.Store.ReadMarks(t.Context()), "list")
	one.True(one.Store.IsMarked(dgst, "pool.0"), "what was marked while a listing was under way is")

	driver.listed = func() { one.NoError(one.Store.Unmark(t.Context(), dgst, "pool.0"), "unmark") }
	one.NoError(one.Store.ReadMarks(t.Context()), "list")
	one.True(!one.Store.IsMarked(dgst, "pool.0"), "what was healed while a listing was under way is not")

	driver.listed = nil
	driver.putting = func() { one.NoError(one.Store.ReadMarks(t.Context()), "list") }
	one.NoError(one.Store.Mark(t.Context(), dgst, "pool.1"), "mark")
	one.True(one.Store.IsMarked(dgst, "pool.1"), "what was listed before it was written is")

	driver.putting = func() { one.NoError(one.Store.Unmark(t.Context(), dgst, "pool.2"), "unmark") }
	one.NoError(one.Store.Mark(t.Context(), dgst, "pool.2"), "mark")
	driver.putting = nil

	other.NoError(other.Store.ReadMarks(t.Context()), "list at another replica")
	other.True(other.Store.IsMarked(dgst, "pool.1"), "what one has marked is at the other")
	other.True(!other.Store.IsMarked(dgst, "pool.2"), "what was healed before its mark was written is not")

	fresh, _ := replica()
	other.NoError(other.Store.Mark(t.Context(), dgst, "pool.3"), "mark")
	fresh.NoError(fresh.Store.Unmark(t.Context(), dgst, "pool.3"), "unmark what another has just marked")
	other.NoError(other.Store.ReadMarks(t.Context()), "list")
	other.True(!other.Store.IsMarked(dgst, "pool.3"), "what was healed by a replica that did not know of the mark is not")
}
