package storage_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// bounded opens a store with quotas.
func bounded(t *testing.T, driver storage.Driver, limits ...storage.Quota) *storagetest.World {
	t.Helper()

	return storagetest.OpenOn(t, driver, storagetest.NewMapCache(), storage.Options{Log: zerolog.Nop(), Quotas: limits})
}

// used is what is used of each quota: "bytes/repositories".
func used(w *storagetest.World) string {
	var all []string
	for _, quota := range w.Store.Stats().Quotas {
		all = append(all, fmt.Sprintf("%d/%d", quota.UsedBytes, quota.UsedRepositories))
	}

	return strings.Join(all, " ")
}

// sizeOf is what images of one repository use.
func sizeOf(images map[digest.Digest]storagetest.Image, layers map[digest.Digest]string) (n int) {
	seen := map[string]bool{}

	for dgst, image := range images {
		n += len(image.Body)
		seen[layers[dgst]] = true
	}

	for layer := range seen {
		n += len(layer)
	}

	if len(images) > 0 {
		n += len("{}")
	}

	return n
}

// bytesOf is what a repository uses that has one image.
func bytesOf(t *testing.T, layer string) int64 {
	t.Helper()

	w := bounded(t, storagetest.NewMemory().Driver())

	return int64(len(w.Push("a", "v1", layer).Body) + len(layer) + len("{}"))
}

func refuses(w *storagetest.World, err error, want storage.QuotaError) {
	w.T.Helper()

	var refused *storage.QuotaError
	if !errors.As(err, &refused) {
		w.T.Fatalf("got error %v, want %v", err, &want)
	}

	w.Equal(*refused, want, "refusal")
}

func TestQuotaCovers(t *testing.T) {
	for _, row := range []struct {
		prefix, repo storage.RepoName
		want         bool
	}{
		{"team-a", "team-a", true},
		{"team-a", "team-a/x", true},
		{"team-a", "team-a/x/y", true},
		{"team-a", "team-ab", false},
		{"team-a", "team-a.x", false},
		{"team-a", "x/team-a", false},
		{"team-a/x", "team-a", false},
		{"", "anything", true},
	} {
		if got := storage.Covers(storage.Quota{Prefix: row.prefix}, row.repo); got != row.want {
			t.Errorf("%q covers %q: %v, want %v", row.prefix, row.repo, got, row.want)
		}
	}
}

func TestQuotaOfBytes(t *testing.T) {
	memory := storagetest.NewMemory()
	first := bytesOf(t, "layer")

	w := bounded(t, memory.Driver(), storage.Quota{Prefix: "a", Bytes: first})
	image := w.Push("a/x", "v1", "layer")
	w.Equal(used(w), fmt.Sprintf("%d/1", first), "used")

	second := bytesOf(t, "other") - int64(len("{}"))
	_, err := w.TryPush("a/x", "v2", "other")
	refuses(w, err, storage.QuotaError{Prefix: "a", Unit: "bytes", Limit: first, Used: first, Asked: second})
	w.Equal(w.Tags("a/x", "", -1), "v1", "tags after a refusal")

	w.Push("a/x", "v1", "layer")
	w.Tag("a/x", image, "v3")
	w.NoError(w.Delete("a/x", "v3", storage.Precondition{}), "delete a tag")
	w.Push("ab", "v1", "elsewhere")

	w.NoError(w.Delete("a/x", image.Digest.String(), storage.Precondition{}), "delete a manifest")
	w.Equal(used(w), "0/0", "used")
	w.Push("a/y", "v1", "other")
	w.Equal(used(w), fmt.Sprintf("%d/1", first), "used")

	_, err = w.Store.Undelete(t.Context(), "a/x", image.Digest, "admin")
	w.NoError(err, "an administrator may exceed it")
	w.Equal(used(w), fmt.Sprintf("%d/2", 2*first), "used")

	w.Push("a/x", "v1", "layer") // nothing new
	w.NoError(w.Delete("a/y", "v1", storage.Precondition{}), "a deletion where it is exceeded")

	_, err = w.TryPush("a/x", "v9", "more")
	if !errors.As(err, new(*storage.QuotaError)) {
		t.Errorf("a push where the quota is exceeded: %v", err)
	}
}

func TestQuotaOfRepositories(t *testing.T) {
	w := bounded(t, storagetest.NewMemory().Driver(), storage.Quota{Repositories: 2}, storage.Quota{Prefix: "a", Repositories: 1})
	w.Push("a", "v1", "1")
	w.Push("a", "v2", "2")

	_, err := w.TryPush("a/x", "v1", "1")
	refuses(w, err, storage.QuotaError{Prefix: "a", Unit: "repositories", Limit: 1, Used: 1, Asked: 1})

	w.Push("b", "v1", "1")

	_, err = w.TryPush("c", "v1", "1")
	refuses(w, err, storage.QuotaError{Unit: "repositories", Limit: 2, Used: 2, Asked: 1})

	w.NoError(w.Store.DeleteRepo(t.Context(), "a", ""), "delete a repository")
	w.Push("a/x", "v1", "1")
}

// What another process has pushed counts before the first commit, and what is too much stays.
func TestQuotaThatIsExceededAtTheStart(t *testing.T) {
	memory := storagetest.NewMemory()
	before := bounded(t, memory.Driver())
	before.Push("a/x", "v1", "layer")
	before.Push("a/y", "v1", "layer")
	before.NoError(before.Store.Close(context.Background()), "close")

	w := openProcessWith(t, memory.Driver(), storage.Quota{Prefix: "a", Bytes: 5})
	defer mustClose(w)

	w.Equal(used(w), "0/0", "nothing is counted before the first commit")

	_, err := w.TryPush("a/z", "v1", "!")
	refuses(w, err, storage.QuotaError{
		Prefix: "a", Unit: "bytes", Limit: 5, Used: 2 * bytesOf(t, "layer"), Asked: bytesOf(t, "!"),
	})

	w.Push("a/x", "v1", "layer")
	w.NoError(w.Get("a/y", "v1"), "pull")
}

func openProcessWith(t *testing.T, driver storage.Driver, limits ...storage.Quota) *storagetest.World {
	t.Helper()

	options := storage.Options{Log: zerolog.Nop(), Quotas: limits}

	store, err := storage.Open(t.Context(), driver, storagetest.NewMapCache(), options)
	if err != nil {
		t.Fatalf("open store: %v", err)
	}

	return &storagetest.World{T: t, Driver: driver, Store: store}
}

func TestUploadThatCanNeverFit(t *testing.T) {
	w := bounded(t, storagetest.NewMemory().Driver(), storage.Quota{Prefix: "a", Bytes: 5})
	id := w.Start("a")

	chunk := storage.Chunk{Body: strings.NewReader("123456"), Offset: -1, Length: 6, Seen: -1}
	_, err := w.Store.AppendUpload(t.Context(), "a", id, chunk)
	refuses(w, err, storage.QuotaError{Prefix: "a", Unit: "bytes", Limit: 5, Asked: 6})

	_, err = w.Finish("a", id, chunk, digest.FromString("123456"))
	refuses(w, err, storage.QuotaError{Prefix: "a", Unit: "bytes", Limit: 5, Asked: 6})
	w.Equal(w.SizeOf("a", id), int64(0), "size")
}

// Many push at once: as many images fit as fit one after the other.
func TestQuotaIsReachedExactly(t *testing.T) {
	const pushers, fit = 64, 20

	one := bytesOf(t, "layer 00")

	for name, limit := range map[string]storage.Quota{
		"bytes":        {Prefix: "team", Bytes: fit * one},
		"repositories": {Prefix: "team", Repositories: fit},
	} {
		t.Run(name, func(t *testing.T) {
			w := bounded(t, storagetest.NewMemory().Driver(), limit)

			var (
				group    sync.WaitGroup
				taken    atomic.Int64
				exceeded atomic.Bool
			)

			for i := range pushers {
				group.Go(func() {
					_, err := w.TryPush(storage.RepoName(fmt.Sprintf("team/r%d", i)), "v1", fmt.Sprintf("layer %02d", i))
					if err == nil {
						taken.Add(1)
					} else if !errors.As(err, new(*storage.QuotaError)) {
						t.Errorf("push %d: %v", i, err)
					}

					now := w.Store.Stats().Quotas[0]
					if now.UsedBytes > fit*one || now.UsedRepositories > fit {
						exceeded.Store(true)
					}
				})
			}

			group.Wait()
			w.Equal(taken.Load(), int64(fit), "pushes that were taken")
			w.Equal(exceeded.Load(), false, "exceeded")
			w.Equal(used(w), fmt.Sprintf("%d/%d", fit*one, fit), "used")
		})
	}
}

// failing is a driver whose appends fail while it is told to.
type failing struct {
	storage.Driver

	fails *atomic.Bool
}

func (d failing) OpenLog(ctx context.Context, prefix string) (storage.Log, error) {
	log, err := d.Driver.OpenLog(ctx, prefix)

	return failingLog{log, d.fails}, err
}

type failingLog struct {
	storage.Log

	fails *atomic.Bool
}

func (l failingLog) Append(ctx context.Context, records []storage.Record) error {
	if l.fails.Load() {
		return errors.New("the disk is full")
	}

	return l.Log.Append(ctx, records)
}

func TestFailedCommitGivesBackWhatItReserved(t *testing.T) {
	fails := new(atomic.Bool)
	w := bounded(t, failing{storagetest.NewMemory().Driver(), fails}, storage.Quota{Prefix: "a", Bytes: bytesOf(t, "layer")})

	fails.Store(true)

	if _, err := w.TryPush("a/x", "v1", "layer"); err == nil {
		t.Fatal("the push did not fail")
	}

	w.Equal(used(w), "0/0", "used")
	fails.Store(false)
	w.Push("a/y", "v1", "layer")
	fails.Store(true)

	if w.Delete("a/y", "v1", storage.Precondition{}) == nil || w.Store.DeleteRepo(t.Context(), "a/y", "") == nil {
		t.Error("the deletion did not fail")
	}

	w.Equal(used(w), fmt.Sprintf("%d/1", bytesOf(t, "layer")), "used where deletions failed")
	fails.Store(false)
}

// quotaRun does random things, and holds what is counted against a recount.
type quotaRun struct {
	*storagetest.World

	rand   *rand.Rand
	images map[storage.RepoName]map[digest.Digest]storagetest.Image
	layers map[digest.Digest]string
	bodies map[digest.Digest][]byte
	gone   map[storage.RepoName]digest.Digest // deleted last
}

func TestQuotaIsWhatARecountSays(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)

	limits := []storage.Quota{{Bytes: 1 << 40}, {Prefix: "a", Repositories: 100}, {Prefix: "a/b", Bytes: 1 << 40}}

	for round := range uint64(5) {
		memory := storagetest.NewMemory()
		run := &quotaRun{
			World:  openProcessWith(t, memory.Driver(), limits...),
			rand:   rand.New(rand.NewPCG(seed, round)),
			images: map[storage.RepoName]map[digest.Digest]storagetest.Image{},
			layers: map[digest.Digest]string{}, bodies: map[digest.Digest][]byte{}, gone: map[storage.RepoName]digest.Digest{},
		}

		for range 200 {
			if run.rand.IntN(25) == 0 {
				if run.rand.IntN(2) == 0 {
					mustClose(run.World)
				} else {
					kill(run.World)
				}

				run.World = openProcessWith(t, memory.Driver(), limits...)
			} else {
				run.step()
			}

			for _, limit := range limits {
				run.NoError(storage.CountQuota(t.Context(), run.Store, limit.Prefix), "count")
			}

			run.Equal(used(run.World), run.recount(limits), "used")
		}

		mustClose(run.World)
	}
}

func (q *quotaRun) step() {
	repo := []storage.RepoName{"a", "a/b", "a/b/c", "d"}[q.rand.IntN(4)]
	tag := fmt.Sprint("t", q.rand.IntN(3))

	switch q.rand.IntN(6) {
	case 0, 1, 2:
		layer := fmt.Sprint("layer ", q.rand.IntN(12))
		image := q.Push(repo, tag, layer)

		if q.images[repo] == nil {
			q.images[repo] = map[digest.Digest]storagetest.Image{}
		}

		q.images[repo][image.Digest], q.layers[image.Digest], q.bodies[image.Digest] = image, layer, image.Body
	case 3:
		for dgst := range q.images[repo] {
			q.NoError(q.Delete(repo, dgst.String(), storage.Precondition{}), "delete")
			delete(q.images[repo], dgst)
			q.gone[repo] = dgst

			break
		}
	case 4:
		for _, image := range q.images[repo] {
			q.Tag(repo, image, tag)

			break
		}
	case 5:
		dgst := q.gone[repo]
		if _, exists := q.images[repo][dgst]; exists || dgst == "" {
			return
		}

		_, err := q.Store.Undelete(q.T.Context(), repo, dgst, "")
		q.NoError(err, "undelete")

		q.images[repo][dgst] = storagetest.Image{Digest: dgst, Body: q.bodies[dgst]}
	}
}

func (q *quotaRun) recount(limits []storage.Quota) string {
	var all []string

	for _, limit := range limits {
		bytes, repos := 0, 0

		for repo, images := range q.images {
			if storage.Covers(limit, repo) && len(images) > 0 {
				bytes += sizeOf(images, q.layers)
				repos++
			}
		}

		all = append(all, fmt.Sprintf("%d/%d", bytes, repos))
	}

	return strings.Join(all, " ")
}

// Two replicas: each knows at once what it has pushed, and the other's within ten seconds.
func TestQuotaOfReplicas(t *testing.T) {
	memory := storagetest.NewMemory()
	memory.Remote = true

	var passed atomic.Int64

	options := storage.Options{
		Log: zerolog.Nop(), Quotas: []storage.Quota{{Prefix: "a", Repositories: 5}},
		Now: func() time.Time { return time.Now().Add(time.Duration(passed.Load())) },
	}

	one := storagetest.OpenOn(t, memory.Driver(), storagetest.NewMapCache(), options)
	two := storagetest.OpenOn(t, memory.Driver(), storagetest.NewMapCache(), options)

	push := func(w *storagetest.World, repo storage.RepoName) bool {
		_, err := w.TryPush(repo, "v1", "layer")
		if err != nil && !errors.As(err, new(*storage.QuotaError)) {
			t.Fatal(err)
		}

		return err == nil
	}

	one.True(push(one, "a/1"), "first")
	two.True(push(two, "a/2"), "second")

	taken := 2

	for i := range 10 {
		for j, w := range []*storagetest.World{one, two} {
			if push(w, storage.RepoName(fmt.Sprintf("a/%d-%d", i, j))) {
				taken++
			}
		}
	}

	if taken < 5 || taken > 5+4 { // each may miss what the other has pushed meanwhile
		t.Errorf("%d repositories were taken, want 5 to 9", taken)
	}

	passed.Add(int64(10 * time.Second))

	for i, w := range []*storagetest.World{one, two} {
		w.True(!push(w, storage.RepoName(fmt.Sprintf("a/late-%d", i))), "refused by what the other has pushed")
		w.Equal(w.Store.Stats().Quotas[0].UsedRepositories, int64(taken), "used")
	}

	for i := range taken {
		repos, _, err := one.Store.ListRepos(t.Context(), "", -1)
		one.NoError(err, "list")

		if len(repos) > i {
			one.NoError(one.Store.DeleteRepo(t.Context(), repos[i], ""), "delete")
		}
	}

	passed.Add(int64(10 * time.Second))
	two.True(push(two, "a/again"), "what the other has deleted is free")
}
