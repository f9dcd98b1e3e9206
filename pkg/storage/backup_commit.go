package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
)

// put commits manifests, all that they name being in the target: as PutManifest does for
// one, with the time and the user of the source.
func (c *repoCopy) put(ctx context.Context, puts []*copiedManifest) error {
	if len(puts) == 0 {
		return nil
	}

	for range maxTakes { // a client of the target may delete a blob meanwhile
		err := c.tryPut(ctx, puts)

		var missing *MissingError
		if !errors.As(err, &missing) {
			return err
		}

		for _, put := range puts {
			for _, blob := range put.source.Blobs {
				if err := c.copyBlob(ctx, blob.Digest); err != nil {
					return err
				}
			}
		}
	}

	return errMoved
}

func (c *repoCopy) tryPut(ctx context.Context, puts []*copiedManifest) error {
	var named []digest.Digest
	for _, put := range puts {
		named = slices.AppendSeq(named, put.record.names())
	}

	slices.Sort(named)
	defer c.to.pin(c.dst, slices.Compact(named)...)()

	puts, err := c.writeAll(ctx, puts)
	if err != nil || len(puts) == 0 {
		return err
	}

	if err := c.to.durability.settle(ctx); err != nil {
		return err
	}

	err = c.dst.commit(c.opts.Who, func(pending *state) ([]Op, error) { return c.decide(pending, puts) })
	if err == nil {
		c.note(func(done *Copied) { done.Manifests += len(puts) })
	}

	return err
}

// writeAll brings the bytes of manifests to the target, and returns those that it takes.
func (c *repoCopy) writeAll(ctx context.Context, puts []*copiedManifest) (written []*copiedManifest, err error) {
	for _, put := range puts {
		err := c.write(ctx, put)

		var invalid *ManifestError
		if errors.As(err, &invalid) {
			c.fail(put.source.Digest, err)

			continue
		}

		if err != nil {
			return nil, err
		}

		written = append(written, put)
	}

	return written, nil
}

// write brings the bytes of a manifest to the target.
func (c *repoCopy) write(ctx context.Context, put *copiedManifest) error {
	fresh := put.record.clone() // each look finds its own sizes and places

	if err := c.to.checkNamed(ctx, c.dst, fresh); err != nil {
		return fmt.Errorf("manifest %s: %w", put.record.Digest, err)
	}

	put.wrote = c.dst.visible.Load().seq

	var err error
	if put.kept, err = c.to.writeManifest(ctx, c.dst, fresh, put.body); err != nil {
		return err
	}

	if !put.kept {
		c.note(func(done *Copied) { done.Bytes += fresh.Size })
	}

	put.checked = fresh

	return nil
}

// decide decides a batch against the pending state.
func (c *repoCopy) decide(pending *state, puts []*copiedManifest) ([]Op, error) {
	ops := make([]Op, 0, len(puts))

	for _, put := range puts {
		now, _ := pending.manifests.Get(put.checked.Digest)
		moved := put.kept && c.to.remote && (now == nil || now.At != put.checked.At)

		if moved || !put.kept && pending.sweptSince(put.checked.Digest, put.wrote) {
			return nil, &MissingError{Digests: []digest.Digest{put.checked.Digest}}
		}

		if err := c.to.recheckNamed(c.dst, pending, put.checked); err != nil {
			return nil, err
		}

		ops = append(ops, Op{
			Kind: OpPutManifest, Manifest: put.checked, Time: put.source.Pushed, Who: put.source.Who,
		})
	}

	return ops, nil
}

// copyTags sets the tags of the target as those of the source. With Exact what else the
// target has goes.
func (c *repoCopy) copyTags(ctx context.Context) error {
	var changes []func(pending *state) []Op

	c.st.tags.Scan(func(tag Tag, entry tagEntry) bool {
		if !c.stays(entry.Digest) {
			changes = append(changes, func(pending *state) []Op { return c.setTag(pending, tag, entry) })
		}

		return true
	})

	if c.opts.Exact {
		changes = append(changes, c.removals()...)
	}

	for batch := range slices.Chunk(changes, copyBatch) {
		if err := ctx.Err(); err != nil {
			return err
		}

		if err := c.apply(batch); err != nil {
			return err
		}
	}

	return nil
}

// apply commits a batch of changes.
func (c *repoCopy) apply(batch []func(pending *state) []Op) error {
	var set, removed int

	err := c.dst.commit(c.opts.Who, func(pending *state) ([]Op, error) {
		var ops []Op

		for _, change := range batch {
			ops = append(ops, change(pending)...)
		}

		set, removed = 0, 0

		for _, op := range ops {
			if op.Kind == OpSetTag {
				set++
			} else {
				removed++
			}
		}

		return ops, nil
	})
	if err == nil {
		c.note(func(done *Copied) {
			done.Tags += set
			done.Removed += removed
		})
	}

	return err
}

// setTag sets a tag of the target, unless it is set.
func (c *repoCopy) setTag(pending *state, tag Tag, entry tagEntry) []Op {
	had, _ := pending.tags.Get(tag)
	if had.Digest == entry.Digest && (!c.opts.Exact || had.Time.Equal(entry.Time) && had.Who == entry.Who) {
		return nil
	}

	if _, ok := pending.manifests.Get(entry.Digest); !ok { // a client of the target has just deleted it
		return nil
	}

	return []Op{{
		Kind: OpSetTag, Tag: tag, Digest: entry.Digest, Extra: entry.Extra, Time: entry.Time, Who: entry.Who,
	}}
}

// removals remove the tags and manifests that the source does not have.
func (c *repoCopy) removals() []func(pending *state) []Op {
	var changes []func(pending *state) []Op

	had := c.dst.visible.Load()

	had.tags.Scan(func(tag Tag, _ tagEntry) bool {
		if _, ok := c.st.tags.Get(tag); !ok {
			changes = append(changes, func(pending *state) []Op {
				if _, ok := pending.tags.Get(tag); !ok {
					return nil
				}

				return []Op{{Kind: OpDeleteTag, Tag: tag}}
			})
		}

		return true
	})
	had.manifests.Scan(func(dgst digest.Digest, _ *ManifestRecord) bool {
		if _, ok := c.st.manifests.Get(dgst); !ok {
			changes = append(changes, func(pending *state) []Op {
				if _, ok := pending.manifests.Get(dgst); !ok {
					return nil
				}

				return deleteOps(pending, dgst)
			})
		}

		return true
	})

	return changes
}
