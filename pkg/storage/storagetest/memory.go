package storagetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"sync"
	"time"

	"github.com/google/uuid"

	"zotregistry.io/zot/pkg/storage"
)

// Memory is a root in memory. Several drivers may work on it at once, as several
// replicas do on one bucket. It knows what a power cut would lose (Crash).
//
// Bodies are copied on their way in, and never change afterwards.
type Memory struct {
	// LinkLimit is how many keys may share one object's bytes before Link answers
	// errors.ErrUnsupported; 0 = no limit. Set it before use.
	LinkLimit int

	// Remote is what the drivers say of themselves. Set it before use.
	Remote bool

	// Now gives objects their time; NewMemory sets time.Now. Set it before use.
	Now func() time.Time

	id string

	mu      sync.Mutex              // guards all below, and what it points to
	objects map[string]*memObject   // what readers see, uploads too
	durable map[string]durableBytes // what Crash leaves of it
	dirty   map[string]struct{}     // keys that differ between the two
	logs    map[string]*memJournal  // by prefix
	syncs   int
}

// memObject is bytes under one or more keys. The bytes of an object never change;
// those of an upload only grow.
type memObject struct {
	body     []byte
	modified time.Time
	links    int
	note     []byte // of an upload
}

// durableBytes is what was of an object when it was synced.
type durableBytes struct {
	object *memObject
	size   int
}

// NewMemory returns an empty root.
func NewMemory() *Memory {
	return &Memory{
		Now:     time.Now,
		id:      uuid.NewString(),
		objects: map[string]*memObject{},
		durable: map[string]durableBytes{},
		dirty:   map[string]struct{}{},
		logs:    map[string]*memJournal{},
	}
}

// Driver returns one more driver over the content.
func (m *Memory) Driver() storage.Driver { return &memDriver{m} }

// Syncs counts the calls of Sync that succeeded.
func (m *Memory) Syncs() int {
	m.mu.Lock()
	defer m.mu.Unlock()

	return m.syncs
}

// Unsynced lists the keys whose last change a power cut would lose.
func (m *Memory) Unsynced() []string {
	m.mu.Lock()
	defer m.mu.Unlock()

	return sortedKeys(m.dirty)
}

// Crash is a power cut of the worst kind: everything that was not synced is as it
// was before, and notes of uploads are of another boot. Checkpoints are durable at
// once. Drivers that are open belong to the dead process: drop them.
func (m *Memory) Crash() {
	m.mu.Lock()
	defer m.mu.Unlock()

	m.objects = make(map[string]*memObject, len(m.durable))
	clear(m.dirty)

	revived := map[*memObject]*memObject{} // links stay links

	for key, was := range m.durable {
		object := revived[was.object]
		if object == nil {
			object = &memObject{body: was.object.body[:was.size:was.size], modified: was.object.modified}
			revived[was.object] = object
		}

		object.links++
		m.objects[key] = object
		m.durable[key] = durableBytes{object, was.size}
	}

	for _, journal := range m.logs {
		journal.crash()
	}
}

// CrashHollow is a power cut after which what was not synced is there by its name and
// its length, and has zeros in it: ext4 writes names and lengths before bytes.
func (m *Memory) CrashHollow() {
	m.mu.Lock()
	hollow, synced := map[string]*memObject{}, map[*memObject]bool{}

	for _, was := range m.durable {
		synced[was.object] = true
	}

	for key := range m.dirty {
		if object := m.objects[key]; object != nil && !synced[object] {
			hollow[key] = &memObject{body: make([]byte, len(object.body)), modified: object.modified}
		}
	}

	m.mu.Unlock()
	m.Crash()
	m.mu.Lock()
	defer m.mu.Unlock()

	for key, object := range hollow {
		m.set(key, object)
		m.settle(key)
	}
}

// set puts object at key, or removes what is there if object is nil.
func (m *Memory) set(key string, object *memObject) {
	if old := m.objects[key]; old != nil {
		old.links--
	}

	m.dirty[key] = struct{}{}

	if object == nil {
		delete(m.objects, key)

		return
	}

	object.links++
	m.objects[key] = object
}

// settle makes what is at key durable.
func (m *Memory) settle(key string) {
	delete(m.dirty, key)

	if object := m.objects[key]; object != nil {
		m.durable[key] = durableBytes{object, len(object.body)}
	} else {
		delete(m.durable, key)
	}
}

// memDriver is one replica's door to a Memory.
type memDriver struct{ m *Memory }

func (d *memDriver) Sync(ctx context.Context) error {
	unlock, err := d.enter(ctx)
	if err != nil {
		return err
	}
	defer unlock()

	for key := range maps.Clone(d.m.dirty) {
		d.m.settle(key)
	}

	for _, journal := range d.m.logs {
		journal.settle()
	}

	d.m.syncs++

	return nil
}

func (d *memDriver) ID() string { return d.m.id }

func (d *memDriver) Remote() bool { return d.m.Remote }

func (d *memDriver) Close() error { return nil }

// enter locks the content for one operation. An operation that begins after its
// context ended does nothing, so that an engine that cleans up with the context of
// a request that is gone is found out.
func (d *memDriver) enter(ctx context.Context, keys ...string) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("memory: %w", err)
	}

	for _, key := range keys {
		if !fs.ValidPath(key) || key == "." {
			return nil, fmt.Errorf("memory: key %q: %w", key, fs.ErrInvalid)
		}
	}

	d.m.mu.Lock()

	return d.m.mu.Unlock, nil
}

func missing(key string) error { return fmt.Errorf("memory: %s: %w", key, fs.ErrNotExist) }

var errTooManyLinks = fmt.Errorf("memory: too many links: %w", errors.ErrUnsupported)
