package storage_test

import (
	"bytes"
	"encoding/json"
	"slices"
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

// The delays of a gardenWorld.
const (
	gardenDelay    = time.Hour
	gardenUndelete = 24 * time.Hour
)

// gardenWorld is a store with retention whose clock a test moves, and whose images have names.
type gardenWorld struct {
	*storagetest.World

	memory *storagetest.Memory
	opts   storage.Options
	clock  *atomic.Int64 // Unix nanoseconds
	log    *logBuffer
	names  map[digest.Digest]string
	of     map[string]storagetest.Image
}

// logBuffer keeps what is logged.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()

	return l.text.Write(p)
}

// take returns the lines of verdicts since the last call: "tag@digest: reason".
func (l *logBuffer) take(t *testing.T, message string) []string {
	t.Helper()

	l.mu.Lock()
	defer l.mu.Unlock()

	var lines []string

	for line := range strings.Lines(l.text.String()) {
		var entry struct{ Repository, Tag, Digest, Reason, Message string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}

		if entry.Message == message {
			lines = append(lines, entry.Repository+":"+entry.Tag+"@"+entry.Digest+": "+entry.Reason)
		}
	}

	l.text.Reset()

	return lines
}

// What is logged of each verdict.
const (
	wouldRemove = "retention would remove this"
	hasRemoved  = "retention has removed this"
)

func openGarden(t *testing.T, memory *storagetest.Memory, policies ...storage.Policy) gardenWorld {
	t.Helper()

	g := gardenWorld{
		memory: memory, clock: new(atomic.Int64), log: new(logBuffer),
		names: map[digest.Digest]string{}, of: map[string]storagetest.Image{},
	}
	g.clock.Store(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC).UnixNano())

	memory.Now = g.now
	g.opts = storage.Options{
		Log: zerolog.New(g.log), Now: g.now,
		GC: storage.GC{Delay: gardenDelay, Undelete: gardenUndelete, Retention: storage.Retention{Policies: policies}},
	}
	g.World = storagetest.OpenOn(t, memory.Driver(), storagetest.NewMapCache(), g.opts)
	g.wait(2 * gardenDelay) // after a start

	return g
}

// another opens a second store on the same root.
func (g gardenWorld) another() gardenWorld {
	g.World = storagetest.OpenOn(g.T, g.memory.Driver(), storagetest.NewMapCache(), g.opts)

	return g
}

func (g gardenWorld) now() time.Time { return time.Unix(0, g.clock.Load()) }

func (g gardenWorld) wait(d time.Duration) { g.clock.Add(int64(d)) }

func (g gardenWorld) collect() storage.Collected {
	g.T.Helper()

	done, err := g.Store.Collect(g.T.Context())
	g.NoError(err, "collect")

	return done
}

// push pushes an image called name, under a tag or ("") by its digest alone.
func (g gardenWorld) push(name, tag string) storagetest.Image {
	g.T.Helper()

	image := storagetest.Image{Body: []byte(manifestOf(name))}
	g.Blob("a", "{}")
	g.Blob("a", name)

	put := storage.ManifestPut{Repo: "a", Body: image.Body}
	if tag != "" {
		put.Tags = []storage.Tag{storage.Tag(tag)}
	}

	descriptor, err := g.Put(put)
	g.NoError(err, "push "+name)

	image.Digest = descriptor.Digest
	g.names[image.Digest] = name
	g.of[name] = image

	return image
}

// do does what a step of a table says.
func (g gardenWorld) do(verb, name string) {
	g.T.Helper()

	switch verb {
	case "push":
		g.push(name, name)
	case "put": // without a tag
		g.push(name, "")
	case "pull":
		_, err := g.Store.GetManifest(g.T.Context(), "a", storage.Reference{Tag: storage.Tag(name)})
		g.NoError(err, "pull "+name)
	case "get": // by digest
		_, err := g.Store.GetManifest(g.T.Context(), "a", storage.Reference{Digest: g.of[name].Digest})
		g.NoError(err, "get "+name)
	case "head":
		_, err := g.Store.StatManifest(g.T.Context(), "a", storage.Reference{Tag: storage.Tag(name)})
		g.NoError(err, "head "+name)
	case "untag":
		g.NoError(g.Delete("a", name, storage.Precondition{}), "untag "+name)
	case "delete":
		g.NoError(g.Delete("a", g.of[name].Digest.String(), storage.Precondition{}), "delete "+name)
	case "sign": // as cosign does, by the name of a tag
		g.push("signature of "+name, strings.Replace(g.of[name].Digest.String(), ":", "-", 1)+".sig")
	case "attach": // as the distribution-spec says
		dgst := g.Attach("a", g.of[name].Digest, "application/vnd.test", "referrer of "+name)
		g.names[dgst] = "referrer of " + name
		g.of["referrer of "+name] = storagetest.Image{Digest: dgst}
	case "index":
		dgst := g.PutIndex("a", "index-"+name, g.of[name].Digest)
		g.names[dgst] = "index of " + name
	default:
		g.T.Fatalf("no such step: %s", verb)
	}
}

// manifests is manifestList as one string.
func (g gardenWorld) manifests() string { return strings.Join(g.manifestList(), ", ") }

// manifestList lists the names of the manifests that are there.
func (g gardenWorld) manifestList() []string {
	g.T.Helper()

	var there []string

	for dgst, name := range g.names {
		if e, err := g.Store.Why(g.T.Context(), "a", dgst); err == nil && e.What == "manifest" {
			there = append(there, name)
		}
	}

	slices.Sort(there)

	return there
}
