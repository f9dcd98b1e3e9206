package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
)

// copiedManifest is a manifest about to be put into the target.
type copiedManifest struct {
	source *ManifestRecord
	record *ManifestRecord // what the target is to know of it
	body   []byte
	kept   bool   // the target had its bytes
	wrote  uint64 // the number of the state when they were written

	checked *ManifestRecord // record, with what was found in the target
}

// prepare reads a manifest.
func (c *repoCopy) prepare(ctx context.Context, m *ManifestRecord) (*copiedManifest, error) {
	if err := c.lacks(m); err != nil {
		return nil, err
	}

	body, err := readObject(ctx, c.from.driver, placedKey(c.src.name, m.Digest, m.At), MaxManifest)
	if err != nil {
		return nil, unreadable(m.Digest, err)
	}

	if got := m.Digest.Algorithm().FromBytes(body); got != m.Digest {
		return nil, fmt.Errorf("%w: the content of manifest %s is %s", ErrDamaged, m.Digest, got)
	}

	record, err := parseManifest(body, m.Digest, m.MediaType)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", m.Digest, err)
	}

	// What the source lives without, the target does, too.
	allow := func(refs, had []Ref) {
		for i := range refs {
			refs[i].elsewhere = refs[i].elsewhere || slices.ContainsFunc(had, func(ref Ref) bool {
				return ref.Digest == refs[i].Digest && ref.Size < 0
			})
		}
	}
	allow(record.Blobs, m.Blobs)
	allow(record.Manifests, m.Manifests)

	record.Extra, record.Loose = m.Extra, m.Loose

	return &copiedManifest{source: m, record: record, body: body}, nil
}

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
	defer c.to.pin(c.dst, slices.Compact(named)...).end(nil)

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
	ops := make([]Op, 0, len(puts)+1)
	if !pending.exists() {
		ops = append(ops, Op{Kind: OpCopied, Who: c.from.driver.ID()})
	}

	for _, put := range puts {
		if err := c.to.recheckOwn(pending, put.checked, put.kept, put.wrote); err != nil {
			return nil, err
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
