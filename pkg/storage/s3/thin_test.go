//go:build remote

package s3_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/internal/faultproxy"
	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// few is a blob that has its bytes in its memberships, as "shared" is one that has not.
const few = "few"

// membersOf lists the memberships that repository a has of some content.
func (h *heap) membersOf(content string) []string {
	h.T.Helper()

	return slices.DeleteFunc(h.keys(), func(key string) bool { return !strings.HasPrefix(key, poolKey(content, "in/a/")) })
}

func (h *heap) members(content string) int { return len(h.membersOf(content)) }

func (h *heap) remove(key string) {
	h.T.Helper()

	_, err := h.bench.server.Client().DeleteObject(h.T.Context(), &awss3.DeleteObjectInput{
		Bucket: aws.String(bucketName), Key: aws.String(h.opts.Prefix + "/" + key),
	})
	h.NoError(err, "remove")
}

// crowd has several clients push blobs that no manifest names yet.
func (h *heap) crowd() {
	h.T.Helper()
	h.Push("a", "keep", "kept")
	h.Blob("b", shared)

	for range 3 {
		h.Blob("a", few)
		h.Blob("a", shared)
	}

	h.Equal(fmt.Sprint(h.members(few), h.members(shared)), "3 3", "memberships before a manifest names them")
}

// thin has a manifest name them, and lets so much time pass that one membership stays of each.
func (h *heap) thin() {
	h.T.Helper()
	h.Push("a", "crowd", few, shared)
	h.collect()
	h.wait(gcWait)
	h.collect()
}

// TestThin: of several memberships one stays, not before all have forgotten the others.
func TestThin(t *testing.T) {
	h := newHeap(t, newBench(t))
	h.crowd()
	image := h.Push("a", "crowd", few, shared)

	h.wait(2 * gcWait)
	h.Equal(h.collect(), 0, "freed, when they are seen to be surplus")
	h.wait(gcWait - time.Minute)
	h.Equal(h.collect(), 0, "freed, a minute too early")
	h.wait(time.Minute)
	h.Equal(h.collect(), 3, "freed, of four with bytes")
	h.Equal(fmt.Sprint(h.members(few), h.members(shared)), "1 1", "memberships")

	for _, w := range []*collecting{h.collecting, h.fresh()} {
		checkImage(w.World, "a", w.MustGet("a", "crowd"))
	}

	h.Blob("a", few)
	h.Blob("a", shared)
	h.Equal(fmt.Sprint(h.members(few), h.members(shared)), "1 1", "memberships, after one more push")

	h.NoError(h.Delete("a", string(image.Digest), storage.Precondition{}), "delete")
	h.collectAll()
	h.Equal(fmt.Sprint(h.members(few), h.members(shared)), "0 0", "memberships, when nothing needs them")
}

// TestThinManyOfOne: of one blob more go than a record names.
func TestThinManyOfOne(t *testing.T) {
	h := newHeap(t, newBench(t))

	for range 501 {
		h.Blob("a", few)
	}

	h.Push("a", "x", few)
	h.collect()
	h.wait(gcWait)
	h.Equal(h.collect(), 501, "freed")
	h.Equal(h.members(few), 1, "memberships")
	checkImage(h.fresh().World, "a", h.fresh().MustGet("a", "x"))
}

// TestThinOfDamage: what the manifest names is missing or wrong, and the other memberships stay
// until a push has put that right.
func TestThinOfDamage(t *testing.T) {
	harms := map[string]func(h *heap, key string){
		"it is gone":     (*heap).remove,
		"it is cut":      func(h *heap, key string) { h.replace(key, few[:1]) },
		"a check saw it": func(h *heap, key string) { h.replace(key, "FEW"); h.find() },
	}

	for name, harm := range harms {
		t.Run(name, func(t *testing.T) {
			h := newHeap(t, newBench(t))
			for range 3 {
				h.Blob("a", few)
			}

			others := h.membersOf(few)
			h.Push("a", "x", few) // it names what its own push has written
			h.collect()
			h.wait(gcWait)

			for _, key := range h.membersOf(few) {
				if !slices.Contains(others, key) {
					harm(h, key)
				}
			}

			keeper := h.fresh()
			before := h.members(few)

			for range 2 {
				keeper.collect()
				h.wait(gcWait)
			}

			h.Equal(h.members(few), before, "memberships")

			keeper.Blob("a", few)
			keeper.collect()
			h.wait(gcWait)
			h.Equal(keeper.collect(), 3, "freed, when it was pushed again")
			h.Equal(h.members(few), 1, "memberships in the end")
			h.Equal(h.fresh().Pull("a", digest.FromString(few)), few, "what is left")
		})
	}
}

// TestThinOfWhatVanishes: what the manifest names goes between the listing and the look at it.
func TestThinOfWhatVanishes(t *testing.T) {
	h := newHeap(t, newBench(t))
	for range 3 {
		h.Blob("a", few)
	}

	others := h.membersOf(few)
	h.Push("a", "x", few)

	named := slices.DeleteFunc(h.membersOf(few), func(key string) bool { return slices.Contains(others, key) })[0]

	slow := h.slow()
	slow.collect()
	h.wait(gcWait)

	fault := h.bench.proxy.Inject(faultproxy.Rule{Kind: faultproxy.Hold, Times: 1, Match: func(r faultproxy.Request) bool {
		return strings.HasSuffix(r.Key, named)
	}})
	done := make(chan error, 1)

	go func() {
		_, err := slow.run()
		done <- err
	}()

	h.NoError(fault.Await(t.Context(), 1), "wait")
	h.remove(named)
	fault.Release()
	h.NoError(<-done, "collect")

	h.Equal(h.members(few), 3, "memberships")
	h.Equal(h.fresh().Pull("a", digest.FromString(few)), few, "what is pulled")
}

// replace puts other bytes in the place of an object.
func (h *heap) replace(key, body string) {
	h.T.Helper()

	_, err := h.bench.server.Client().PutObject(h.T.Context(), &awss3.PutObjectInput{
		Bucket: aws.String(bucketName), Key: aws.String(h.opts.Prefix + "/" + key), Body: strings.NewReader(body),
	})
	h.NoError(err, "replace")
}

// TestThinnedUnderPush stops each request of a push, and has a deleter thin out meanwhile. In the
// end nothing names what has gone.
func TestThinnedUnderPush(t *testing.T) {
	b := newBench(t)

	pushes := races()
	pushes["push of few bytes"] = func(w *storagetest.World) error {
		_, err := w.TryPush("a", "new", few)

		return err
	}
	pushes["push a manifest of few bytes"] = func(w *storagetest.World) error {
		_, err := w.Put(storage.ManifestPut{Repo: "a", Tags: []storage.Tag{"new"}, Body: manifestBody(few)})

		return err
	}

	for name, race := range pushes {
		for what, meanwhile := range map[string]func(h *heap){
			"": (*heap).thin,
			", and its reason deleted": func(h *heap) {
				h.thin()
				h.NoError(h.Delete("a", string(h.MustGet("a", "crowd").Digest), storage.Precondition{}), "delete")
			},
		} {
			t.Run(name+what, func(t *testing.T) {
				eachStop(t, func(t *testing.T, n int) bool {
					h := newHeap(t, b)
					h.crowd()

					var answered error

					w := h.slow()
					more := h.stopAt(n, func() { answered = race(w.World) }, func() { meanwhile(h) })
					t.Log("answer: ", answered)
					h.isWhole()

					if there := h.members(few); more && answered == nil && strings.Contains(name, "few") {
						h.fresh().Blob("a", few)
						h.Equal(h.members(few), there, "memberships after a push of what the manifest names")
					}

					h.whole(answered)
					h.isWhole()

					return more
				})
			})
		}
	}
}

// isWhole has a check find nothing.
func (h *heap) isWhole() {
	h.T.Helper()
	h.Equal(problems(h.find()), "", "what a check finds")
}

// find has a check look at everything.
func (h *heap) find() storage.CheckReport {
	h.T.Helper()

	store, err := storage.Open(h.T.Context(), mustOpen(h.T, h.opts), storage.NoCache{}, storage.Options{Log: zerolog.Nop(), Passive: true})
	h.NoError(err, "open")

	report, err := store.Check(h.T.Context(), storage.CheckOptions{}, func(storage.CheckProgress) {})
	h.NoError(errors.Join(err, store.Close(h.T.Context())), "check")

	return report
}

// TestThinStopped stops each request of a deleter that thins out, and has others push, thin out,
// and delete what it is at.
func TestThinStopped(t *testing.T) {
	b := newBench(t)

	for name, meanwhile := range map[string]func(h *heap){
		"a push":          func(h *heap) { h.Push("a", "new", few, shared) },
		"another deleter": func(h *heap) { h.thin() },
		"a deletion": func(h *heap) {
			h.NoError(h.Delete("a", string(h.MustGet("a", "crowd").Digest), storage.Precondition{}), "delete")
			h.wait(undelete)
			h.sweep()
			h.Push("a", "crowd", few, shared)
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachStop(t, func(t *testing.T, n int) bool {
				h := newHeap(t, b)
				h.crowd()
				h.Push("a", "crowd", few, shared)

				slow := h.slow()
				slow.collect()
				h.wait(gcWait)

				more := h.stopAt(n, func() { _, _ = slow.run() }, func() { meanwhile(h) })

				checkImage(h.fresh().World, "a", h.fresh().MustGet("a", "crowd"))
				h.collectAll()
				checkImage(h.fresh().World, "a", h.fresh().MustGet("a", "crowd"))
				h.Equal(fmt.Sprint(h.members(few), h.members(shared)), "1 1", "memberships in the end")

				return more
			})
		})
	}
}
