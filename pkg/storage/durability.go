package storage

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"zotregistry.io/zot/internal/rounds"
)

// idleFlush is how long bytes that no manifest names may stay in memory only.
const idleFlush = 3 * time.Second

// durability knows which blobs are not on disk yet, and which are damaged.
// docs/durability.md says what is promised.
type durability struct {
	driver  Driver
	remote  bool                  // what is written is durable
	flushes rounds.Rounds         // each is one flush
	marks   marks                 // what replicas have marked in a bucket
	damaged sync.Map              // keys that must not be served, and since when; persisted under damagedPrefix
	doubt   atomic.Pointer[doubt] // nil = there is none
	now     func() time.Time
	log     zerolog.Logger

	flushed, flushFailed, flushTime atomic.Int64 // flushes, those that failed, nanoseconds of all

	mu      sync.Mutex
	dirty   []string  // keys written since the last successful flush began, oldest first
	since   time.Time // when the first of them was written
	unknown bool      // there may be bytes that are not on disk and not in dirty
	epoch   epoch
	failed  time.Time // when the last flush failed, in an earlier process too; zero = never
}

// epoch counts the flushes that failed. Bytes that were written in one epoch and are
// not on disk at its end may be lost.
type epoch int

// openDurability reads what earlier processes have marked.
func openDurability(ctx context.Context, driver Driver, tasks *tasks, opts Options) (*durability, error) {
	d := &durability{driver: driver, remote: driver.Remote(), unknown: true, now: opts.Now, log: opts.Log}
	d.flushes.Work, d.flushes.Go = d.sync, tasks.run

	if d.remote {
		d.unknown = false

		return d, d.readMarks(ctx)
	}

	for info, err := range driver.List(ctx, damagedPrefix, "") {
		if err != nil {
			return nil, fmt.Errorf("list damaged blobs: %w", err)
		}

		d.damaged.Store(splitDamagedKey(info.Key), info.Modified)
	}

	info, err := driver.Stat(ctx, flushFailed)
	if err != nil && !isNotExist(err) {
		return nil, fmt.Errorf("look for failed flushes: %w", err)
	}

	d.failed = info.Modified

	return d, d.beginDoubt(ctx)
}

// writing notes that the bytes of key are about to get there. What may be served
// must be known as not on disk before anyone can see it.
func (d *durability) writing(key string) epoch {
	d.mu.Lock()
	defer d.mu.Unlock()

	d.add(key)

	return d.epoch
}

// wrote notes that the bytes of key, which were written since the epoch began, are
// in place. A mark of damage is of the bytes before, and goes once these are on disk.
//
// Errors: ErrDamaged if a flush has failed since: the bytes are not to be trusted.
func (d *durability) wrote(ctx context.Context, key string, begun epoch) error {
	d.mu.Lock()
	d.add(key)
	lost := d.epoch != begun
	d.mu.Unlock()

	if lost {
		d.markDamaged(ctx, key, "a flush to disk failed while it was written")

		return fmt.Errorf("%w: %s", ErrDamaged, key)
	}

	if d.isDamaged(key) {
		if err := d.settle(ctx); err != nil {
			return err
		}
	}

	d.vouch(key)

	return d.healed(ctx, key)
}

func (d *durability) add(key string) {
	if d.remote {
		return
	}

	if len(d.dirty) == 0 {
		d.since = d.now()
	}

	d.dirty = append(d.dirty, key)
}

// present returns the present epoch.
func (d *durability) present() epoch {
	d.mu.Lock()
	defer d.mu.Unlock()

	return d.epoch
}

// epochOf returns the epoch of bytes that were last written at a time, perhaps by an
// earlier process: the present one, unless a flush has failed since.
func (d *durability) epochOf(written time.Time) epoch {
	d.mu.Lock()
	defer d.mu.Unlock()

	if !d.failed.IsZero() && !written.After(d.failed) {
		return d.epoch - 1
	}

	return d.epoch
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

// settleUnknown settles what this process has not written itself.
func (d *durability) settleUnknown(ctx context.Context) error {
	d.mu.Lock()
	unknown := d.unknown
	d.mu.Unlock()

	if !unknown {
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
func (d *durability) flush(ctx context.Context) error {
	if d.remote {
		return nil
	}

	return d.flushes.Ask(ctx)
}

// sync is one flush. A failed one is final for all that was written and that no
// earlier one had covered: the kernel drops those pages, and the next flush would
// report success (PostgreSQL's "fsyncgate", 2018). They are marked before the next
// flush can begin, so none of them can be committed meanwhile.
func (d *durability) sync(ctx context.Context) error {
	d.mu.Lock()
	covered := len(d.dirty)
	d.mu.Unlock()

	begun := time.Now()
	err := d.driver.Sync(ctx)

	d.flushTime.Add(int64(time.Since(begun)))
	d.flushed.Add(1)

	if err != nil {
		d.flushFailed.Add(1)
		d.lose(ctx)

		return fmt.Errorf("%w: flush to disk: %w", ErrDamaged, err)
	}

	d.mu.Lock()
	defer d.mu.Unlock()

	d.dirty = slices.Clone(d.dirty[covered:])
	d.since = d.now()
	d.unknown = false

	return nil
}

// lose ends an epoch.
func (d *durability) lose(ctx context.Context) {
	d.mu.Lock()

	lost := slices.Compact(slices.Sorted(slices.Values(d.dirty)))
	for _, key := range lost {
		d.damaged.Store(key, d.now())
	}

	d.dirty = nil
	d.unknown = true
	d.epoch++
	d.failed = d.now()
	d.mu.Unlock()

	if _, err := d.driver.Put(ctx, flushFailed, nil); err != nil {
		d.log.Error().Err(err).Msg("that a flush failed could not be written down: do not resume uploads after a restart")
	}

	for _, key := range lost {
		d.persistDamage(ctx, key, "a flush to disk failed")
	}
}

// markDamaged makes a blob unreadable until its bytes are pushed again.
func (d *durability) markDamaged(ctx context.Context, key, why string) {
	if _, known := d.damaged.Swap(key, d.now()); !known {
		d.persistDamage(ctx, key, why)
	}
}

func (d *durability) persistDamage(ctx context.Context, key, why string) {
	d.log.Error().Str("blob", key).Str("why", why).Msg("blob is damaged; a push of the same digest heals it")

	if d.remote {
		return
	}

	if _, err := d.driver.Put(ctx, damagedKey(key), nil); err != nil {
		d.log.Error().Err(err).Str("blob", key).Msg("damage is remembered until zot stops, but could not be written down")
	}
}

// damagedFor is how long a mark counts where others may heal the blob without our
// noticing. If nobody has, the next read marks it again.
const damagedFor = 10 * time.Second

// isDamaged says whether what is at a key must not be served. In a bucket that depends on
// the place; where the key has none, any place of the blob that is marked counts.
func (d *durability) isDamaged(key string) bool {
	if d.remote {
		var at string

		key, at = splitPlacedKey(key)
		if d.marks.hit(key, at) {
			return true
		}
	}

	since, damaged := d.damaged.Load(key)
	if damaged && d.remote && d.now().Sub(since.(time.Time)) > damagedFor { //nolint:forcetypeassert // we put it
		d.damaged.CompareAndDelete(key, since)

		return false
	}

	return damaged
}

// healed forgets a mark: key has new bytes.
func (d *durability) healed(ctx context.Context, key string) error {
	if !d.isDamaged(key) {
		return nil
	}

	if !d.remote {
		if err := d.driver.Delete(ctx, damagedKey(key)); err != nil {
			return fmt.Errorf("forget that %s was damaged: %w", key, err)
		}
	}

	d.damaged.Delete(key)

	return nil
}
