//go:build remote

package s3_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"
	. "github.com/smartystreets/goconvey/convey"
	"golang.org/x/sync/errgroup"

	"zotregistry.io/zot/internal/faultproxy"
	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// mustPurge purges from all repositories, whoever names it.
func mustPurge(w *storagetest.World, repo storage.RepoName, dgst digest.Digest) {
	w.T.Helper()

	_, err := w.Store.Purge(w.T.Context(), repo, dgst, storage.PurgeOptions{Everywhere: true, Force: true}, "admin")
	w.NoError(err, "purge")
}

func TestPurgePool(t *testing.T) {
	b := newBench(t)

	Convey("Given bytes that two repositories share", t, func() {
		p := newPool(t, b)
		p.Push("a", "x", shared)
		p.Push("b", "x", shared)
		So(p.read(shared, "data.0"), ShouldEqual, shared)

		Convey("a purge of one leaves them to the other", func() {
			done, err := p.Store.Purge(t.Context(), "a", sharedDigest, storage.PurgeOptions{Force: true}, "admin")
			So(err, ShouldBeNil)
			So(done.Others, ShouldResemble, []storage.RepoName{"b"})
			So(p.fresh().Pull("b", sharedDigest), ShouldEqual, shared)

			Convey("and of the other removes them", func() {
				mustPurge(p.fresh(), "b", sharedDigest)
				So(p.read(shared, "data.0"), ShouldBeEmpty)
				So(p.stone(shared).Gen, ShouldEqual, 1)
				So(p.stone(shared).Condemned, ShouldBeFalse)
			})
		})

		Convey("after a purge everywhere they can be pushed again", func() {
			mustPurge(p.World, "a", sharedDigest)
			So(p.read(shared, "data.0"), ShouldBeEmpty)

			again := p.fresh()
			So(again.Stat("b", sharedDigest), ShouldWrap, storage.ErrBlobUnknown)
			again.Push("b", "x", shared)
			So(p.read(shared, "data.1"), ShouldEqual, shared)
			So(p.fresh().Pull("b", sharedDigest), ShouldEqual, shared)
		})

		Convey("an upload that has become a member meanwhile keeps them", func() {
			bucket := p.Driver.(storage.Eraser) //nolint:forcetypeassert // it is one
			So(bucket.Erase(t.Context(), sharedDigest), ShouldBeNil)
			So(p.read(shared, "data.0"), ShouldEqual, shared)
			So(p.fresh().Stat("a", sharedDigest), ShouldBeNil)
		})
	})
}

// TestPurgeBesideReplica: an image is there whole, or was refused, however a purge falls
// between the requests of its push through another replica.
func TestPurgeBesideReplica(t *testing.T) {
	b := newBench(t)
	p := newPool(t, b)

	direct := p.opts
	direct.Endpoint = b.server.Endpoint
	purger := storagetest.OpenOn(t, mustOpen(t, direct), storage.NoCache{}, storage.Options{Log: zerolog.Nop()})

	n := 1
	for ; purgeBeside(p, purger, n); n++ {
	}

	if n < 6 {
		t.Errorf("a push took %d requests only", n)
	}
}

// purgeBeside purges a layer when a push of it makes its n-th request, and says whether it
// made so many.
func purgeBeside(p *pool, purger *storagetest.World, n int) (more bool) {
	repo, layer := storage.RepoName(fmt.Sprint("r", n)), fmt.Sprint(shared, n) // that nobody else holds
	purger.Push(repo, "other", layer)

	requests := 0
	hold := p.bench.proxy.Inject(faultproxy.Rule{Kind: faultproxy.Hold, Times: 1, Match: func(faultproxy.Request) bool {
		requests++

		return requests == n
	}})
	defer hold.Remove()

	pushed, reached := make(chan error, 1), make(chan error, 1)

	ctx, cancel := context.WithCancel(p.T.Context())
	defer cancel()

	go func() {
		_, err := p.TryPush(repo, "x", layer)
		pushed <- err
	}()
	go func() { reached <- hold.Await(ctx, 1) }()

	var err error

	select {
	case err = <-pushed:
	case err = <-reached:
		p.NoError(err, "wait for the request")
		mustPurgeFrom(purger, repo, digest.FromString(layer))
		hold.Release()

		err, more = <-pushed, true
	}

	var missing *storage.MissingError
	if err != nil && !errors.As(err, &missing) {
		p.T.Errorf("push, purged at request %d: %v", n, err)
	}

	if purger.Get(repo, "x") == nil {
		purger.Equal(purger.Pull(repo, digest.FromString(layer)), layer, fmt.Sprint("the layer, purged at request ", n))
	} else if err == nil && !more {
		p.T.Error("a push that was not disturbed is not there")
	}

	return more
}

// mustPurgeFrom purges from one repository.
func mustPurgeFrom(w *storagetest.World, repo storage.RepoName, dgst digest.Digest) {
	w.T.Helper()

	_, err := w.Store.Purge(w.T.Context(), repo, dgst, storage.PurgeOptions{Force: true}, "admin")
	w.NoError(err, "purge")
}

// TestDropHistory: what is old goes, but for what the head names; the log is as it was.
func TestDropHistory(t *testing.T) {
	const n = 40

	must := func(t *testing.T, err error) {
		t.Helper()

		if err != nil {
			t.Fatal(err)
		}
	}

	b := newBench(t)
	opts := b.options()
	bucket := mustOpen(t, opts)

	log, err := bucket.OpenLog(t.Context(), "a/")
	must(t, err)

	_, err = log.Load(t.Context())
	must(t, err)

	state := func(w io.Writer) error {
		_, err := io.WriteString(w, "state")

		return err
	}

	for seq := uint64(1); seq <= n; seq++ {
		must(t, log.Append(t.Context(), []storage.Record{{Seq: seq, Who: strings.Repeat("w", 16<<10), Ops: []storage.Op{
			{Kind: storage.OpDeleteTag, Tag: "x"},
		}}}))

		if seq%10 == 0 {
			must(t, log.Checkpoint(t.Context(), seq, state, state))
		}
	}

	oldest := func() uint64 {
		next := uint64(n + 1)

		for record, err := range log.History(t.Context(), next) {
			must(t, err)

			if record.Seq != next-1 {
				t.Fatalf("record %d comes before %d", record.Seq, next)
			}

			next = record.Seq
		}

		return next
	}

	if got := oldest(); got != 1 {
		t.Errorf("history begins with record %d", got)
	}

	must(t, log.DropHistory(t.Context(), time.Now().Add(time.Hour))) // all are younger than a day

	if got := oldest(); got != 1 {
		t.Errorf("history of this day begins with record %d", got)
	}

	opts.Now = func() time.Time { return time.Now().Add(48 * time.Hour) }
	later := mustOpen(t, opts)

	again, err := later.OpenLog(t.Context(), "a/")
	must(t, err)

	loaded, err := again.Load(t.Context())
	must(t, err)
	must(t, loaded.Checkpoint.Close())
	must(t, again.DropHistory(t.Context(), time.Now().Add(24*time.Hour)))

	if got := oldest(); got <= 10 || got > 31 { // the checkpoint before covers up to 30
		t.Errorf("history begins with record %d after it was dropped", got)
	}

	reloaded, err := again.Load(t.Context())
	must(t, err)
	must(t, errors.Join(reloaded.Checkpoint.Close(), log.Close(), again.Close(), bucket.Close(), later.Close()))

	if reloaded.Covered != n || len(reloaded.Tail) != len(loaded.Tail) {
		t.Errorf("loaded a checkpoint of %d and %d records behind it", reloaded.Covered, len(reloaded.Tail))
	}
}

// TestPurgeBeforeFirstCommit: the first image of a repository is there whole, or was refused,
// however its push falls between the requests of a purge.
func TestPurgeBeforeFirstCommit(t *testing.T) {
	b := newBench(t)

	for name, layer := range map[string]string{"small": "small", "shared": shared} {
		t.Run(name, func(t *testing.T) {
			eachStop(t, func(t *testing.T, n int) bool {
				h := newHeap(t, b)
				h.Blob("a", layer)
				h.Blob("a", "{}")

				slow, other := h.slow(), h.fresh()
				other.NoError(other.Stat("a", digest.FromString(layer)), "stat")

				var purged, pushed error

				purge := func() {
					_, purged = slow.Store.Purge(t.Context(), "a", digest.FromString(layer), storage.PurgeOptions{}, "admin")
				}
				push := func() {
					_, pushed = other.Put(storage.ManifestPut{Repo: "a", Tags: []storage.Tag{"x"}, Body: manifestBody(layer)})
				}

				more := h.stopAt(n, purge, push)
				if !more {
					push()
				}

				t.Log("purge: ", purged, " push: ", pushed)

				var missing *storage.MissingError

				switch {
				case pushed == nil:
					checkImage(h.fresh().World, "a", h.fresh().MustGet("a", "x"))
				case !errors.As(pushed, &missing):
					t.Errorf("push: %v", pushed)
				}

				return more
			})
		})
	}
}

// TestFindAll: more repositories than a listing has may hold a digest, and a purge is of all of them.
func TestFindAll(t *testing.T) {
	b := newBench(t)
	p := newPool(t, b)

	const repos = 1005

	var group errgroup.Group

	group.SetLimit(16)

	for n := range repos {
		group.Go(func() error {
			p.write(shared, fmt.Sprintf("in/r%d/1", n), "")

			return nil
		})
	}

	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}

	finder := p.Driver.(storage.Finder) //nolint:forcetypeassert // it is one

	for limit, want := range map[int]int{0: repos, 7: 7, 1001: 1001} {
		found, err := finder.FindBlob(t.Context(), sharedDigest, limit)
		p.NoError(err, "find")
		p.True(len(found) >= want && (limit > 0 || len(found) == want), "repositories found", limit, len(found))
	}
}
