package local

import (
	"strings"
	"sync"
	"time"

	"zotregistry.io/zot/pkg/storage"
)

// glances are what was seen of paths a moment ago: to look at each file and directory anew for
// each request takes longer than what else a small answer takes. Its methods may be called
// concurrently.
type glances[V any] struct {
	life time.Duration // how long a look is good; 0 = not at all

	mu   sync.RWMutex // guards seen
	seen map[string]glance[V]
}

type glance[V any] struct {
	at   time.Time
	what V
}

const glancesMost = 4096 // then all are forgotten

func (g *glances[V]) get(path string) (what V, ok bool) {
	if g.life == 0 {
		return what, false
	}

	g.mu.RLock()
	last, ok := g.seen[path]
	g.mu.RUnlock()

	return last.what, ok && time.Since(last.at) < g.life
}

func (g *glances[V]) put(path string, what V) {
	if g.life == 0 {
		return
	}

	g.mu.Lock()
	defer g.mu.Unlock()

	if g.seen == nil || len(g.seen) >= glancesMost {
		g.seen = map[string]glance[V]{}
	}

	g.seen[strings.Clone(path)] = glance[V]{time.Now(), what}
}

// plainFor is how long a directory that was no link is taken for none.
const plainFor = time.Second

// indexFor bounds how long index.json is taken for the one that was seen, if there is RootOptions.LookAfter:
// what another program has written there is to be seen soon.
const indexFor = 10 * time.Millisecond

// seenFile is a file as it was after so many changes of ours: any of them may have been to it.
type seenFile struct {
	storage.Info

	changes uint64
}
