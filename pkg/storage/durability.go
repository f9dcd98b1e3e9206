package storage

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// idleFlush is how long bytes that no manifest names may stay in memory only.
const idleFlush = 3 * time.Second

// durability knows which blobs are not on disk yet, and which are damaged.
// docs/durability.md says what is promised.
type durability struct {
	driver  Driver
	flushes flusher
	damaged sync.Map // keys that must not be served; persisted under damagedPrefix
	now     func() time.Time
	log     zerolog.Logger

	mu      sync.Mutex
	dirty   []string  // keys written since the last successful flush began, oldest first
	since   time.Time // when the first of them was written
	unknown bool      // an earlier process may have left bytes that are not on disk
}

// openDurability reads which keys earlier processes have marked damaged.
func openDurability(ctx context.Context, driver Driver, tasks *tasks, opts Options) (*durability, error) {
	d := &durability{driver: driver, unknown: true, now: opts.Now, log: opts.Log}
	d.flushes = flusher{tasks: tasks, sync: d.sync}

	for info, err := range driver.List(ctx, damagedPrefix, "") {
		if err != nil {
			return nil, fmt.Errorf("list damaged blobs: %w", err)
		}

		d.damaged.Store(splitDamagedKey(info.Key), nil)
	}

	return d, nil
}

// wrote notes that the bytes of a blob are in place, and not yet on disk.
func (d *durability) wrote(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()

	if len(d.dirty) == 0 {
		d.since = d.now()
	}

	d.dirty = append(d.dirty, key)
}

// settle returns when all blobs written before the call are on disk.
//
// Errors: ErrDamaged if they may not be; they are marked.
func (d *durability) settle(ctx context.Context) error {
	d.mu.Lock()
	clean := len(d.dirty) == 0 && !d.unknown
	d.mu.Unlock()

	if clean {
		return nil
	}

	return d.flush(ctx)
}

// settleIdle settles what no commit has settled for a while.
func (d *durability) settleIdle(ctx context.Context) error {
	d.mu.Lock()
	due := len(d.dirty) > 0 && d.now().Sub(d.since) >= idleFlush
	d.mu.Unlock()

	if !due {
		return nil
	}

	return d.flush(ctx)
}

// flush returns when all that was written before the call is on disk.
//
// Errors: ErrDamaged, as settle.
func (d *durability) flush(ctx context.Context) error { return d.flushes.flush(ctx) }

// sync is one flush. A failed one is final for all that was written and that no
// earlier one had covered: the kernel drops those pages, and the next flush would
// report success (PostgreSQL's "fsyncgate", 2018). They are marked before the next
// flush can begin, so none of them can be committed meanwhile.
func (d *durability) sync() error {
	d.mu.Lock()
	covered := len(d.dirty)
	d.mu.Unlock()

	if err := d.driver.Sync(context.Background()); err != nil { // it serves many callers
		d.lost()

		return fmt.Errorf("%w: flush to disk: %w", ErrDamaged, err)
	}

	d.mu.Lock()
	defer d.mu.Unlock()

	d.dirty = slices.Clone(d.dirty[covered:])
	d.since = d.now()
	d.unknown = false

	return nil
}

func (d *durability) lost() {
	d.mu.Lock()
	lost := d.dirty
	d.dirty = nil
	d.mu.Unlock()

	for _, key := range lost {
		d.markDamaged(context.Background(), key, "a flush to disk failed")
	}
}

// markDamaged makes a blob unreadable until its bytes are pushed again.
func (d *durability) markDamaged(ctx context.Context, key, why string) {
	if _, known := d.damaged.Swap(key, nil); known {
		return
	}

	d.log.Error().Str("blob", key).Str("why", why).Msg("blob is damaged; a push of the same digest heals it")

	if err := d.driver.Put(ctx, damagedKey(key), nil); err != nil {
		d.log.Error().Err(err).Str("blob", key).Msg("damage is remembered until zot stops, but could not be written down")
	}
}

func (d *durability) isDamaged(key string) bool {
	_, damaged := d.damaged.Load(key)

	return damaged
}

// healed forgets a mark: key has new bytes.
func (d *durability) healed(ctx context.Context, key string) error {
	if !d.isDamaged(key) {
		return nil
	}

	if err := d.driver.Delete(ctx, damagedKey(key)); err != nil {
		return fmt.Errorf("forget that %s was damaged: %w", key, err)
	}

	d.damaged.Delete(key)

	return nil
}
