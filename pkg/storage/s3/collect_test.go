//go:build remote

package s3_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/internal/faultproxy"
	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/s3"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// The delays of a heap.
const (
	gcDelay  = time.Hour
	undelete = 24 * time.Hour
	gcWait   = gcDelay + storage.Staleness
)

// heap is a prefix whose replicas have one clock, which a test moves, and the bucket's with
// it. The first replica is the one that usually collects, and no request of it meets the
// proxy.
type heap struct {
	*collecting

	bench *bench
	opts  s3.Options
	ahead *atomic.Int64
}

// collecting is a replica of a heap.
type collecting struct {
	*storagetest.World

	bucket *s3.Bucket
	heap   *heap
}

func newHeap(t *testing.T, b *bench) *heap {
	t.Helper()

	h := &heap{bench: b, opts: b.proxied(), ahead: new(atomic.Int64)}
	h.opts.Now = func() time.Time { return time.Now().Add(time.Duration(h.ahead.Load())) }
	h.collecting = h.replica(t, b.server.Endpoint)

	return h
}

func (h *heap) replica(t *testing.T, endpoint string) *collecting {
	t.Helper()

	opts := h.opts
	opts.Endpoint = endpoint
	bucket := mustOpen(t, opts)

	w := storagetest.OpenOn(t, bucket, storage.NoCache{}, storage.Options{
		Log: zerolog.Nop(), Now: opts.Now, GC: storage.GC{Delay: gcDelay, Undelete: undelete},
	})

	return &collecting{World: w, bucket: bucket, heap: h}
}

// slow is a replica that the proxy can stop.
func (h *heap) slow() *collecting { return h.replica(h.T, h.bench.proxy.URL) }

func (h *heap) fresh() *collecting { return h.replica(h.T, h.bench.server.Endpoint) }

func (h *heap) wait(d time.Duration) { h.ahead.Add(int64(d)) }

func (c *collecting) run() (storage.Collected, error) {
	c.bucket.Skew(time.Duration(c.heap.ahead.Load()))

	return c.Store.Collect(c.T.Context())
}

// collect runs GC, and says how many blobs it has freed.
func (c *collecting) collect() (freed int) {
	c.T.Helper()

	done, err := c.run()
	c.NoError(err, "collect")

	return done.Blobs
}

// collectAll runs GC until nothing can be left that nobody needs.
func (h *heap) collectAll() {
	h.T.Helper()

	for range 3 {
		h.wait(undelete + gcWait)
		h.collect()
	}
}

// keys are the objects there are, without the prefix.
func (h *heap) keys() []string {
	h.T.Helper()

	out, err := h.bench.server.Client().ListObjectsV2(h.T.Context(), &awss3.ListObjectsV2Input{
		Bucket: aws.String(bucketName), Prefix: aws.String(h.opts.Prefix + "/"),
	})
	h.NoError(err, "list")

	var keys []string
	for _, object := range out.Contents {
		keys = append(keys, strings.TrimPrefix(*object.Key, h.opts.Prefix+"/"))
	}

	return keys
}

func poolKey(content, name string) string {
	hex := digest.FromString(content).Encoded()

	return "_blobs/sha256/" + hex[:2] + "/" + hex + "/" + name
}

// TestCollectBlobs: what no manifest names goes when it was condemned for long enough, and
// nobody was told of it meanwhile, at any replica.
func TestCollectBlobs(t *testing.T) {
	h := newHeap(t, newBench(t))
	h.Push("a", "keep", "kept", shared)
	loose, large := h.Blob("a", "loose"), h.Blob("a", other)
	h.Push("b", "keep", "kept elsewhere")

	h.Equal(h.collect(), 0, "freed, when all is young")
	h.wait(gcDelay + 2*time.Second)
	h.Equal(h.collect(), 0, "freed, when it is condemned")
	h.wait(gcWait - time.Minute)
	h.Equal(h.collect(), 0, "freed, a minute too early")
	h.NoError(h.fresh().Stat("a", loose), "HEAD at another replica") // renews it
	h.wait(time.Minute)
	h.Equal(h.collect(), 1, "freed, of two of which one was renewed")
	h.Is(h.Stat("a", large), storage.ErrBlobUnknown, "what was freed")
	h.True(!slices.Contains(h.keys(), poolKey(other, "data.0")), "its bytes are gone")
	h.Equal(h.fresh().Pull("a", loose), "loose", "what was renewed")

	h.wait(gcWait)
	h.collect()
	h.wait(gcWait)
	h.collect()
	h.Is(h.fresh().Stat("a", loose), storage.ErrBlobUnknown, "what was renewed, later")

	h.Blob("a", other)
	h.Equal(h.fresh().Pull("a", large), other, "pushed again")
	h.Equal(h.Pull("a", sharedDigest), shared, "what a manifest names")
	h.Equal(h.Pull("b", digest.FromString("kept elsewhere")), "kept elsewhere", "in another repository")
}

// TestCollectImage: a deleted image stays for as long as it can be brought back; then
// nothing is left of it but the log and, of bytes that were shared, a tombstone.
func TestCollectImage(t *testing.T) {
	h := newHeap(t, newBench(t))
	image := h.Push("a/b", "x", "layer", shared)
	h.NoError(h.Delete("a/b", string(image.Digest), storage.Precondition{}), "delete")

	h.wait(undelete - time.Minute)
	h.Equal(h.collect(), 0, "freed, before that cannot be undone")
	h.Equal(h.Repos("", -1), "a/b", "repositories")

	h.wait(time.Minute)
	h.Equal(h.collect(), 0, "freed, when it is condemned")
	h.Equal(h.Repos("", -1), "", "repositories")

	h.wait(gcWait)
	h.Equal(h.collect(), 4, "freed: config, two layers, manifest")
	h.Equal(fmt.Sprint(h.keys()), fmt.Sprint([]string{poolKey(shared, "tombstone"), "_zot/root.json", "a/b/.zot/head"}), "what is left")

	h.Equal(h.Push("a/b", "x", "layer", shared).Digest, image.Digest, "pushed again")
	h.collectAll()

	w := h.fresh()
	w.Equal(w.Repos("", -1), "a/b", "repositories")
	checkImage(w.World, "a/b", w.MustGet("a/b", "x"))
}

// TestCollectNeverBegun: what was pushed to a repository that never got a manifest goes after a
// day, and the repository is in no list.
func TestCollectNeverBegun(t *testing.T) {
	h := newHeap(t, newBench(t))
	h.Blob("n/e/w", shared)

	h.wait(23 * time.Hour)
	h.collect()
	h.True(!slices.Contains(h.keys(), "n/e/w/.zot/head"), "nothing was condemned on the first day")

	for range 2 {
		h.wait(gcWait)
		h.collect()
	}

	h.Is(h.fresh().Stat("n/e/w", sharedDigest), storage.ErrBlobUnknown, "it is gone")
	h.Equal(h.Repos("", -1), "", "repositories")
}

// TestCollectNamed: a manifest that names what is condemned ends that, at any moment before
// the sweep.
func TestCollectNamed(t *testing.T) {
	h := newHeap(t, newBench(t))
	h.Blob("a", "{}")
	h.Blob("a", shared)
	h.wait(undelete + gcDelay) // of a repository that does not exist yet
	h.collect()
	h.wait(gcWait)

	_, err := h.fresh().Put(storage.ManifestPut{Repo: "a", Tags: []storage.Tag{"t"}, Body: manifestBody(shared)})
	h.NoError(err, "put")
	h.collectAll()
	checkImage(h.fresh().World, "a", h.fresh().MustGet("a", "t"))
}

// TestCollectUntagged: a manifest that lost its tag goes when no replica was asked for it for
// long enough, and its bytes after it.
func TestCollectUntagged(t *testing.T) {
	h := newHeap(t, newBench(t))
	old := h.Push("a", "t", "one")
	h.Push("a", "t", "two")

	h.wait(gcDelay + 2*time.Second)
	h.collect() // announces it
	h.wait(gcWait)
	h.NoError(h.fresh().Get("a", string(old.Digest)), "pull at another replica")

	done, err := h.run()
	h.NoError(err, "collect")
	h.Equal(done.Manifests, 0, "manifests removed, when it was asked for")

	h.wait(gcWait)

	done, err = h.run()
	h.NoError(err, "collect")
	h.Equal(done.Manifests, 1, "manifests removed, later")
	h.Is(h.fresh().Get("a", string(old.Digest)), storage.ErrManifestUnknown, "pull")

	h.collectAll()

	for _, key := range h.keys() {
		h.True(!strings.HasPrefix(key, poolKey("one", "")) && !strings.Contains(key, old.Digest.Encoded()), "it is gone", key)
	}

	checkImage(h.fresh().World, "a", h.fresh().MustGet("a", "t"))
}

// TestWhy: a blob that is to go says so, and when.
func TestWhy(t *testing.T) {
	h := newHeap(t, newBench(t))
	h.Push("a", "keep", "kept")
	loose := h.Blob("a", "loose")

	why := func(want string) storage.Explanation {
		t.Helper()

		e, err := h.Store.Why(t.Context(), "a", loose)
		h.NoError(err, "why")
		h.True(e.Kept && strings.Contains(e.String(), want), want, e.String())

		return e
	}

	why("has to announce first")
	h.wait(gcDelay + 2*time.Second)
	h.collect()

	until := why("has announced").Until
	h.wait(until.Sub(h.opts.Now()) + time.Second)
	h.Equal(h.collect(), 1, "freed, a second after the time that was told")

	_, err := h.Store.Why(t.Context(), "a", loose)
	h.Is(err, storage.ErrBlobUnknown, "why, when it is gone")
}

// TestSweptIsNotHeld: after the record of a sweep a repository does not hold a blob, even if
// what said that it does is there still.
func TestSweptIsNotHeld(t *testing.T) {
	b := newBench(t)
	h := newHeap(t, b)
	h.Push("a", "keep", "kept")
	h.Blob("a", shared)
	small := h.Blob("a", "small")

	deleter := h.slow()

	h.wait(gcDelay + 2*time.Second)
	deleter.collect()
	h.wait(gcWait)

	fault := b.proxy.Inject(faultproxy.Rule{Kind: faultproxy.ConnReset, Match: faultproxy.On(faultproxy.DeleteObject)})
	if _, err := deleter.run(); err == nil {
		t.Error("nothing was to be deleted")
	}

	for _, dgst := range []digest.Digest{sharedDigest, small} {
		h.Is(h.fresh().Stat("a", dgst), storage.ErrBlobUnknown, "HEAD of what was swept")
		_, err := h.fresh().Store.OpenBlob(t.Context(), "a", dgst, storage.Whole)
		h.Is(err, storage.ErrBlobUnknown, "GET of it")
	}

	fault.Remove()
	h.Equal(deleter.collect(), 2, "freed by the next run")
}

// TestCollectTwice: replicas that collect at once free what is to go, and no more.
func TestCollectTwice(t *testing.T) {
	h := newHeap(t, newBench(t))
	h.Push("a", "keep", "kept", shared)

	for i := range 20 {
		h.Blob("a", strings.Repeat(fmt.Sprint("garbage ", i), 10_000))
		h.Blob("b", fmt.Sprint("garbage ", i))
	}

	replicas := []*collecting{h.collecting, h.fresh(), h.fresh()}

	for range 3 {
		h.wait(undelete + gcWait)

		var group sync.WaitGroup

		for _, w := range replicas {
			group.Go(func() { w.collect() })
		}

		group.Wait()
	}

	for _, key := range h.keys() {
		if strings.Contains(key, "/data.") && key != poolKey(shared, "data.0") || strings.Contains(key, "/in/b/") {
			t.Errorf("%s is left", key)
		}
	}

	checkImage(h.fresh().World, "a", h.fresh().MustGet("a", "keep"))
}

// TestClaim: of replicas whose runs are due one begins.
func TestClaim(t *testing.T) {
	h := newHeap(t, newBench(t))

	var (
		group  sync.WaitGroup
		claims atomic.Int64
	)

	for range 4 {
		w := h.fresh()

		group.Go(func() {
			mine, err := w.bucket.Claim(t.Context(), time.Hour)
			if err != nil {
				t.Error(err)
			}

			if mine {
				claims.Add(1)
			}
		})
	}

	group.Wait()
	h.Equal(claims.Load(), int64(1), "claims")

	h.bucket.Skew(time.Hour + time.Second)
	mine, err := h.bucket.Claim(t.Context(), time.Hour)
	h.NoError(err, "claim")
	h.True(mine, "an hour later")
}

// racing is a push that succeeds or fails as a whole while a deleter is at work.
type racing func(w *storagetest.World) error

// races are pushes of an image whose layer is garbage at the moment; of the last one only
// the manifest itself may be.
func races() map[string]racing {
	put := func(w *storagetest.World, layer string) error {
		_, err := w.Put(storage.ManifestPut{Repo: "a", Tags: []storage.Tag{"new"}, Body: manifestBody(layer)})

		return err
	}
	manifest := func(w *storagetest.World) error { return put(w, shared) }

	return map[string]racing{
		"push": func(w *storagetest.World) error {
			_, err := w.TryPush("a", "new", shared)

			return err
		},
		"push what is there": func(w *storagetest.World) error {
			if err := errors.Join(w.Stat("a", digest.FromString("{}")), w.Stat("a", sharedDigest)); err != nil {
				return err
			}

			return manifest(w)
		},
		"push by mount": func(w *storagetest.World) error {
			if err := w.Store.MountBlob(w.T.Context(), "a", sharedDigest, "b", ""); err != nil {
				return err
			}

			return manifest(w)
		},
		"push a manifest":                manifest,
		"push a manifest of named blobs": func(w *storagetest.World) error { return put(w, "kept") },
	}
}

// due has an image's layer be garbage that is about to be swept, in a and in b.
func (h *heap) due() {
	h.T.Helper()
	h.Push("a", "keep", "kept")

	for _, repo := range []storage.RepoName{"a", "b"} {
		image := h.Push(repo, "old", shared)
		h.NoError(h.Delete(repo, string(image.Digest), storage.Precondition{}), "delete")
	}

	h.wait(undelete)
	h.collect() // condemns
	h.wait(gcWait)
}

// whole checks that an image is there if a push was answered, stays so, and that a retry
// succeeds.
func (h *heap) whole(answered error) {
	h.T.Helper()

	if answered == nil {
		checkImage(h.fresh().World, "a", h.fresh().MustGet("a", "new"))
	}

	h.collectAll()

	if w := h.fresh(); answered == nil {
		checkImage(w.World, "a", w.MustGet("a", "new"))
	} else if _, err := w.TryPush("a", "new", shared); err != nil {
		h.T.Errorf("the first try failed (%v), so did another one: %v", answered, err)
	}

	checkImage(h.fresh().World, "a", h.fresh().MustGet("a", "keep"))
}

// stopAt stops request n that comes to the proxy, calls meanwhile, and lets it go on. It
// says whether there were so many.
func (h *heap) stopAt(n int, do func(), meanwhile func()) bool {
	h.T.Helper()
	h.bench.proxy.Reset()

	fault := h.bench.proxy.Inject(faultproxy.Rule{Kind: faultproxy.Hold, Times: 1, Match: func(r faultproxy.Request) bool {
		return r.Seq == n
	}})
	done := make(chan struct{})

	go func() {
		defer close(done)

		do()
	}()

	held := make(chan error, 1)
	go func() { held <- fault.Await(h.T.Context(), 1) }()

	select {
	case <-done:
		fault.Remove()
		fault.Release()

		return false
	case err := <-held:
		h.NoError(err, "wait")
	}

	meanwhile()
	fault.Release()
	<-done

	return true
}

// TestPushStopped stops each request of a push, and has a deleter sweep and free meanwhile.
func TestPushStopped(t *testing.T) {
	b := newBench(t)

	for name, race := range races() {
		t.Run(name, func(t *testing.T) {
			for n, more := 1, true; more; n++ {
				t.Run(fmt.Sprint(n), func(t *testing.T) {
					h := newHeap(t, b)
					h.due()

					var answered error

					w := h.slow()
					more = h.stopAt(n, func() { answered = race(w.World) }, h.sweep)
					t.Log("answer: ", answered)
					h.whole(answered)
				})
			}
		})
	}
}

// sweep lets so much time pass that nothing stays that nobody needs.
func (h *heap) sweep() {
	h.T.Helper()
	h.collect()
	h.wait(gcWait)
	h.collect()
}

// TestUploadStopped stops each request of an upload and of a mount, has a deleter sweep and
// free meanwhile, and asks for what was answered to be there.
func TestUploadStopped(t *testing.T) {
	b := newBench(t)

	for name, content := range map[string]string{"small": "small", "shared": shared} {
		for how, push := range map[string]func(w *storagetest.World) error{
			"push": func(w *storagetest.World) error {
				_, err := w.TryBlob("a", content)

				return err
			},
			"mount": func(w *storagetest.World) error {
				return w.Store.MountBlob(t.Context(), "a", digest.FromString(content), "b", "")
			},
		} {
			t.Run(how+" "+name, func(t *testing.T) {
				for n, more := 1, true; more; n++ {
					t.Run(fmt.Sprint(n), func(t *testing.T) {
						h := newHeap(t, b)
						h.Push("a", "keep", "kept")
						h.Push("b", "keep", content)
						h.Blob("a", content)
						h.wait(gcDelay + 2*time.Second)
						h.collect()
						h.wait(gcWait)

						var answered error

						w := h.slow()
						more = h.stopAt(n, func() { answered = push(w.World) }, h.sweep)
						t.Log("answer: ", answered)

						if answered == nil {
							h.Equal(h.fresh().Pull("a", digest.FromString(content)), content, "what was answered")
						}
					})
				}
			})
		}
	}
}

// TestSweepStopped stops each request of a run that sweeps, while a client pushes.
func TestSweepStopped(t *testing.T) {
	b := newBench(t)

	for name, race := range races() {
		t.Run(name, func(t *testing.T) {
			for n, more := 1, true; more; n++ {
				t.Run(fmt.Sprint(n), func(t *testing.T) {
					h := newHeap(t, b)
					h.due()

					deleter := h.slow()
					deleter.collect() // it sees what is condemned
					h.wait(gcWait)

					var answered error

					more = h.stopAt(n, func() { deleter.collect() }, func() { answered = race(h.fresh().World) })
					if !more {
						return
					}

					t.Log("answer: ", answered)
					h.whole(answered)
				})
			}
		})
	}
}

// TestCollectFaults lets each request of a run fail. A run after it leaves what it should,
// and no more.
func TestCollectFaults(t *testing.T) {
	b := newBench(t)

	for _, mode := range faultModes {
		t.Run(mode.name, func(t *testing.T) {
			for n, more := 1, true; more; n++ {
				t.Run(fmt.Sprint(n), func(t *testing.T) { more = b.collectFault(t, n, mode) })
			}
		})
	}
}

func (b *bench) collectFault(t *testing.T, n int, mode faultMode) bool {
	t.Helper()

	h := newHeap(t, b)
	h.due()

	deleter := h.slow()
	deleter.collect()
	h.wait(gcWait)

	r := &requestRun{World: h.World, bench: b, opts: h.opts}
	hit, stop := r.failAt(n, mode)
	_, err := deleter.run()

	stop()
	t.Logf("failed: %s: %v", hit(), err)

	if err != nil && !mode.always {
		t.Errorf("one request failed once, and so did all: %v", err)
	}

	h.collectAll()

	for _, key := range h.keys() {
		if strings.Contains(key, "/data.") || strings.HasPrefix(key, "_repos/b") {
			t.Errorf("%s is left", key)
		}
	}

	checkImage(h.fresh().World, "a", h.fresh().MustGet("a", "keep"))
	h.Push("a", "new", shared)
	checkImage(h.fresh().World, "a", h.fresh().MustGet("a", "new"))

	return hit() != ""
}
