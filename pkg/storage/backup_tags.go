package storage

import (
	"context"
	"slices"

	"github.com/opencontainers/go-digest"
)

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

// removals remove the tags and manifests that the source does not have, except for what is spared.
func (c *repoCopy) removals() []func(pending *state) []Op {
	var changes []func(pending *state) []Op

	had := c.dst.visible.Load()
	spared := c.spared(had)

	had.tags.Scan(func(tag Tag, _ tagEntry) bool {
		if _, ok := c.st.tags.Get(tag); !ok {
			changes = append(changes, func(pending *state) []Op { return c.removeTag(pending, tag, spared) })
		}

		return true
	})
	had.manifests.Scan(func(dgst digest.Digest, _ *ManifestRecord) bool {
		if _, ok := c.st.manifests.Get(dgst); !ok && !spared[dgst] {
			changes = append(changes, func(pending *state) []Op { return c.removeManifest(pending, dgst) })
		}

		return true
	})

	return changes
}

// spared are the manifests of the target that go with a tag that cannot be set: that tag stays
// what it was, with children and referrers.
func (c *repoCopy) spared(had *state) map[digest.Digest]bool {
	spared := map[digest.Digest]bool{}

	var spare func(dgst digest.Digest)

	spare = func(dgst digest.Digest) {
		record, ok := had.manifests.Get(dgst)
		if !ok || spared[dgst] {
			return
		}

		spared[dgst] = true

		for _, child := range record.Manifests {
			spare(child.Digest)
		}

		for referrer := range had.referrersOf(ReferrerQuery{Subject: dgst}) {
			spare(referrer.Digest)
		}
	}

	c.st.tags.Scan(func(tag Tag, entry tagEntry) bool {
		if old, ok := had.tags.Get(tag); ok && c.stays(entry.Digest) {
			spare(old.Digest)
		}

		return true
	})

	return spared
}

// removeTag removes a tag from the target, unless it goes with its manifest.
func (c *repoCopy) removeTag(pending *state, tag Tag, spared map[digest.Digest]bool) []Op {
	now, ok := pending.tags.Get(tag)
	if _, stays := c.st.manifests.Get(now.Digest); !ok || !stays && !spared[now.Digest] {
		return nil
	}

	return []Op{c.deleteTag(tag)}
}

func (c *repoCopy) removeManifest(pending *state, dgst digest.Digest) []Op {
	if _, ok := pending.manifests.Get(dgst); !ok {
		return nil
	}

	ops := deleteOps(pending, dgst)
	for i, op := range ops {
		if op.Kind == OpDeleteTag {
			ops[i] = c.deleteTag(op.Tag)
		}
	}

	return ops
}
