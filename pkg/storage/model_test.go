package storage_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// model is what a registry should be: maps.
type model struct {
	tags   map[string]digest.Digest                      // by "repo:tag"
	images map[storage.RepoName]map[digest.Digest]string // manifest to the content of its layer
}

// TestModel does random things to the engine and to the maps, and holds them against
// each other; now and then the process dies, the power fails, or the store closes.
// ZOT_SEED replays a run.
func TestModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("ZOT_SEED"), 10, 64); err == nil {
		seed = s
	}

	t.Logf("ZOT_SEED=%d", seed)

	for round := range uint64(20) {
		newModelRun(t, rand.New(rand.NewPCG(seed, round))).run(300)
	}
}

type modelRun struct {
	*testing.T
	rand   *rand.Rand
	memory *storagetest.Memory
	cache  *storagetest.MapCache
	world  *storagetest.World
	store  *storage.Store
	want   model
}

func newModelRun(t *testing.T, random *rand.Rand) *modelRun {
	t.Helper()

	m := &modelRun{
		T: t, rand: random, memory: storagetest.NewMemory(), cache: storagetest.NewMapCache(),
		want: model{tags: map[string]digest.Digest{}, images: map[storage.RepoName]map[digest.Digest]string{}},
	}
	m.open()

	return m
}

func (m *modelRun) open() {
	store, err := storage.Open(m.Context(), inOrder(m.T, m.memory), m.cache, storage.Options{Log: zerolog.Nop()})
	if err != nil {
		m.Fatal(err)
	}

	m.store = store
	m.world = &storagetest.World{T: m.T, Driver: m.memory.Driver(), Store: store}
}

func (m *modelRun) close() {
	if err := m.store.Close(context.Background()); err != nil {
		m.Fatal(err)
	}
}

func (m *modelRun) run(steps int) {
	actions := []func(){m.push, m.push, m.push, m.deleteTag, m.deleteManifest, m.deleteBlobs, m.mount, m.restart, m.cache.Forget}

	for range steps {
		actions[m.rand.IntN(len(actions))]()
	}

	m.compare()
	m.close()
}

func (m *modelRun) repo() storage.RepoName {
	return []storage.RepoName{"a", "a/b", "c"}[m.rand.IntN(3)]
}

func (m *modelRun) tag() string { return "t" + strconv.Itoa(m.rand.IntN(5)) }

func (m *modelRun) push() {
	repo, tag, layer := m.repo(), m.tag(), "layer "+strconv.Itoa(m.rand.IntN(6))
	image := m.world.Push(repo, tag, layer)
	m.want.tags[string(repo)+":"+tag] = image.Digest

	if m.want.images[repo] == nil {
		m.want.images[repo] = map[digest.Digest]string{}
	}

	m.want.images[repo][image.Digest] = layer
}

func (m *modelRun) deleteTag() {
	repo, tag := m.repo(), m.tag()
	_, exists := m.want.tags[string(repo)+":"+tag]
	err := m.world.Delete(repo, tag, storage.Precondition{})

	if (err == nil) != exists {
		m.Fatalf("delete %s:%s, which exists: %v: %v", repo, tag, exists, err)
	}

	delete(m.want.tags, string(repo)+":"+tag)
}

func (m *modelRun) deleteManifest() {
	repo := m.repo()
	for dgst := range m.want.images[repo] {
		m.world.NoError(m.world.Delete(repo, dgst.String(), storage.Precondition{}), "delete manifest")
		delete(m.want.images[repo], dgst)
		maps.DeleteFunc(m.want.tags, func(name string, to digest.Digest) bool {
			return strings.HasPrefix(name, string(repo)+":") && to == dgst
		})

		return
	}
}

// deleteBlobs deletes a layer wherever no manifest names it.
func (m *modelRun) deleteBlobs() {
	repo, layer := m.repo(), "layer "+strconv.Itoa(m.rand.IntN(6))
	used := slices.Contains(slices.Collect(maps.Values(m.want.images[repo])), layer)
	err := m.world.DeleteBlob(repo, digest.FromString(layer))

	switch {
	case used && !errors.Is(err, storage.ErrInUse):
		m.Fatalf("deleting a layer that is in use: %v", err)
	case !used && err != nil && !errors.Is(err, storage.ErrBlobUnknown):
		m.Fatalf("deleting a layer: %v", err)
	}
}

func (m *modelRun) mount() {
	from, layer := m.repo(), "layer "+strconv.Itoa(m.rand.IntN(6))
	used := slices.Contains(slices.Collect(maps.Values(m.want.images[from])), layer)
	err := m.store.MountBlob(m.Context(), m.repo(), digest.FromString(layer), from, "")

	if used && err != nil || err != nil && !errors.Is(err, storage.ErrBlobUnknown) {
		m.Fatalf("mount from %s: %v", from, err)
	}
}

// restart ends the process: in order, by kill -9, or by a power cut. Nothing that was
// acknowledged may go.
func (m *modelRun) restart() {
	switch m.rand.IntN(3) {
	case 0:
		m.close()
	case 1: // the old store is left behind as it is; its driver writes nothing more
		m.T.Cleanup(m.abandon(m.store))
	case 2:
		m.T.Cleanup(m.abandon(m.store))
		m.memory.Crash()
	}

	m.open()
	m.compare()
}

// abandon lets a dead process's goroutines end at the end of the test.
func (m *modelRun) abandon(store *storage.Store) func() {
	return func() { _ = store.Close(context.Background()) }
}

func (m *modelRun) compare() {
	for _, repo := range []storage.RepoName{"a", "a/b", "c"} {
		m.compareRepo(repo)
	}
}

func (m *modelRun) compareRepo(repo storage.RepoName) {
	want := []string{}

	for name, dgst := range m.want.tags {
		if tag, ok := strings.CutPrefix(name, string(repo)+":"); ok {
			want = append(want, tag)
			m.world.Equal(m.world.MustGet(repo, tag).Digest, dgst, name)
		}
	}

	slices.Sort(want)

	if m.want.images[repo] != nil {
		m.world.Equal(m.world.Tags(repo, "", -1), strings.Join(want, " "), "tags of "+string(repo))
	}

	for dgst, layer := range m.want.images[repo] {
		m.world.Equal(m.world.MustGet(repo, dgst.String()).Digest, dgst, "manifest")
		m.world.Equal(m.world.Pull(repo, digest.FromString(layer)), layer, fmt.Sprint("layer of ", dgst))
	}
}
