//go:build remote

package s3_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/s3"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

func mustScrub(w *storagetest.World) storage.CheckReport {
	w.T.Helper()

	report, err := w.Store.Scrub(w.T.Context(), storage.ScrubOptions{}, func(storage.CheckProgress) {})
	w.NoError(err, "scrub")

	return report
}

// marks are the places that are marked.
func (c *checkedBucket) marks() string { return strings.Join(c.keys("_damaged/"), " ") }

// A manifest that a check has marked is healed by a push, as a blob is.
func TestMarkedManifestPushedAgain(t *testing.T) {
	b := newBench(t)

	for name, harm := range map[string]func(c *checkedBucket, own string){
		"damaged": func(c *checkedBucket, own string) { c.flip(own, 3) },
		"missing": func(c *checkedBucket, own string) { c.remove(own) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCheckedBucket(t, b)
			image := c.replica().MustGet("a", "t0")
			harm(c, image.Digest.Encoded()+"/in/a/own.")

			found := c.check(storage.CheckOptions{})
			if problems(found) != "blob-"+name || c.marks() == "" {
				t.Fatalf("found %v, marked %q", found.Findings, c.marks())
			}

			w := c.replica()
			_, err := w.Put(storage.ManifestPut{Repo: "a", Tags: []storage.Tag{"t0"}, Body: image.Body})
			w.NoError(err, "push it again")

			for _, w := range []*storagetest.World{w, c.replica()} {
				checkImage(w, "a", w.MustGet("a", "t0"))
			}

			w.Equal(problems(c.check(storage.CheckOptions{})), "", "what is left")
		})
	}
}

// A second copy that no state names does not take a good one out of service.
func TestDamagedSecondCopy(t *testing.T) {
	b := newBench(t)
	c := newCheckedBucket(t, b)
	w := c.replica()
	image := w.MustGet("a", "t0")
	second := c.find(image.Digest.Encoded() + "/in/a/own.")
	b.putObject(t, second, "{")

	put := storage.ManifestPut{Repo: "a", Tags: []storage.Tag{"t0"}, Body: image.Body}
	_, err := w.Put(put)
	w.NoError(err, "push again")

	report := mustScrub(w)
	w.Equal(problems(report), "", "what a scrub finds")
	w.Equal(report.Notices, 1, "what it tells of the second copy")

	for _, w := range []*storagetest.World{w, c.replica()} {
		checkImage(w, "a", w.MustGet("a", "t0"))
		_, err := w.Put(put)
		w.NoError(err, "push again, after the scrub")
	}

	c.check(storage.CheckOptions{Repair: true})
	w.True(!slices.Contains(c.keys(image.Digest.Encoded()+"/in/a/own."), second), "a repair puts it aside")
	checkImage(w, "a", c.replica().MustGet("a", "t0"))
	w.Equal(c.marks(), "", "marks")
}

// healingBucket heals a blob by a push as soon as it is marked.
type healingBucket struct {
	*s3.Bucket

	marked func()
}

func (b *healingBucket) Put(ctx context.Context, key string, body []byte) (string, error) {
	placed, err := b.Bucket.Put(ctx, key, body)
	if strings.HasPrefix(key, "_damaged/") && err == nil {
		b.marked()
	}

	return placed, err
}

// A repair leaves what a client heals while it is at it.
func TestRepairWhileHealed(t *testing.T) {
	c := newCheckedBucket(t, newBench(t))
	c.flip(dir(largeLayer)+"data.0", 5)

	healed := 0
	bucket := &healingBucket{Bucket: mustOpen(t, c.opts)}
	w := storagetest.OpenOn(t, bucket, storage.NoCache{}, storage.Options{Log: zerolog.Nop()})
	bucket.marked = func() {
		w.Blob("a", largeLayer)
		healed++
	}

	_, err := w.Store.Check(t.Context(), storage.CheckOptions{Repair: true}, func(storage.CheckProgress) {})
	w.NoError(err, "repair")
	w.Equal(healed, 1, "pushes")

	for _, w := range []*storagetest.World{w, c.replica()} {
		w.Equal(w.Pull("b", digest.FromString(largeLayer)), largeLayer, "what was healed")
	}

	w.Equal(problems(c.check(storage.CheckOptions{})), "", "what is left")
	w.Equal(c.marks(), "", "marks")
}

// lateBucket heals a blob by a push just after it was looked for in vain.
type lateBucket struct {
	*s3.Bucket

	missed func(key string)
}

func (b *lateBucket) Stat(ctx context.Context, key string) (storage.Info, error) {
	info, err := b.Bucket.Stat(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		b.missed(key)
	}

	return info, err
}

// A check does not tell of a missing blob, nor mark it, that was healed while it looked.
func TestMissingWhileHealed(t *testing.T) {
	c := newCheckedBucket(t, newBench(t))
	c.remove(dir("small 2") + "in/a/own.")

	other, healed := c.replica(), 0
	bucket := &lateBucket{Bucket: mustOpen(t, c.opts)}
	bucket.missed = func(key string) {
		if key == storage.BlobKey("a", digest.FromString("small 2")) && healed == 0 {
			healed++

			other.Blob("a", "small 2")
		}
	}

	w := storagetest.OpenOn(t, bucket, storage.NoCache{}, storage.Options{Log: zerolog.Nop()})
	report, err := w.Store.Check(t.Context(), storage.CheckOptions{Quick: true}, func(storage.CheckProgress) {})
	w.NoError(err, "check")
	w.Equal(healed, 1, "pushes")
	w.Equal(problems(report), "", "what is found")
	w.Equal(c.marks(), "", "marks")
	w.Equal(w.Pull("a", digest.FromString("small 2")), "small 2", "what was healed")
}

// A mark goes with what was marked.
func TestMarksGo(t *testing.T) {
	b := newBench(t)

	for name, remove := range map[string]func(h *heap, image digest.Digest){
		"by GC": func(h *heap, image digest.Digest) {
			h.NoError(h.Delete("a", string(image), storage.Precondition{}), "delete")
			h.wait(undelete)
			h.collect()
			h.wait(gcWait)
			h.collect()
		},
		"by a purge": func(h *heap, image digest.Digest) { mustPurge(h.World, "a", image) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHeap(t, b)
			image := h.Push("a", "t", "layer", shared)
			c := &checkedBucket{bench: b, t: t, opts: h.opts}
			c.flip(dir(shared)+"data.0", 5)
			c.flip(dir("layer")+"in/a/own.", 2)
			mustScrub(h.World)
			h.Equal(len(c.keys("_damaged/")), 2, "marks")

			remove(h, image.Digest)
			h.Equal(c.marks(), "", "marks")

			h.Push("a", "t", "layer", shared)
			checkImage(h.fresh().World, "a", h.fresh().MustGet("a", "t"))
		})
	}
}
