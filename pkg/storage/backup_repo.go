package storage

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/opencontainers/go-digest"
)

// repoCopy copies one repository: first what is missing of blobs and manifests, children
// before the indexes that name them, then the tags.
type repoCopy struct {
	*transfer

	from, to *Store
	src, dst *repository

	st   *state              // of the source, at one moment
	seq  uint64              // of the source, up to which the target tells what has happened
	last map[Tag]copiedEvent // of what has happened since

	mu     sync.Mutex
	there  map[digest.Digest]bool  // blobs that the target has
	failed map[digest.Digest]error // why a blob or manifest cannot be read
}

// maxTakes is how often the state of the source is taken again because some of what it names
// has gone meanwhile.
const maxTakes = 5

func (c *repoCopy) run(ctx context.Context) error {
	if !c.src.visible.Load().exists() {
		return c.isLost(ctx)
	}

	if err := c.findCopied(ctx); err != nil {
		return err
	}

	for range maxTakes {
		c.st = c.src.visible.Load()
		c.there, c.failed = map[digest.Digest]bool{}, map[digest.Digest]error{}

		if err := c.copyManifests(ctx); err != nil {
			return err
		}

		if len(c.failed) == 0 {
			break
		}

		if err := c.src.look(ctx, c.from.repos.now()); err != nil {
			return err
		}

		if !c.isGone(c.src.visible.Load()) {
			break
		}
	}

	if err := c.copyHistory(ctx); err != nil {
		return err
	}

	if err := c.copyTags(ctx); err != nil {
		return err
	}

	if err := c.noteCopied(c.st.seq); err != nil {
		return err
	}

	return c.failure()
}

// isGone says whether something that cannot be copied is not wanted any more.
func (c *repoCopy) isGone(now *state) bool {
	for dgst := range c.failed {
		if !now.inUse(dgst) {
			return true
		}
	}

	return false
}

// failure says what could not be copied.
func (c *repoCopy) failure() error {
	failed := make([]error, 0, len(c.failed))
	for _, err := range c.failed {
		failed = append(failed, err)
	}

	return errors.Join(failed...)
}

// A batch of manifests is one commit. It names at most so many blobs and manifests, or is a
// single manifest.
const copyBatch = 500

// copyManifests copies all manifests, and before each what it names.
//
// Errors: those of the target. What the source cannot give is noted.
func (c *repoCopy) copyManifests(ctx context.Context) error {
	for _, level := range c.levels() {
		for len(level) > 0 {
			n, named := 0, 0
			for n < len(level) && (n == 0 || named+level[n].count() <= copyBatch) {
				named += level[n].count()
				n++
			}

			if err := c.copyBatch(ctx, level[:n]); err != nil {
				return err
			}

			level = level[n:]
		}
	}

	return nil
}

// count is how many digests a manifest names, with its own.
func (m *ManifestRecord) count() int { return 1 + len(m.Blobs) + len(m.Manifests) }

// levels are the manifests of the source: first those that name no others, then those that
// name only such, and so on.
func (c *repoCopy) levels() [][]*ManifestRecord {
	var (
		levels  [][]*ManifestRecord
		levelOf = map[digest.Digest]int{} // + 1
		visit   func(dgst digest.Digest) int
	)

	visit = func(dgst digest.Digest) int {
		record, ok := c.st.manifests.Get(dgst)
		if !ok || levelOf[dgst] > 0 {
			return levelOf[dgst]
		}

		level := 0
		for _, child := range record.Manifests {
			level = max(level, visit(child.Digest))
		}

		if level == len(levels) {
			levels = append(levels, nil)
		}

		levels[level] = append(levels[level], record)
		levelOf[dgst] = level + 1

		return level + 1
	}

	for _, dgst := range c.st.manifests.Keys() {
		visit(dgst)
	}

	return levels
}

// copyBatch copies manifests whose children the target has.
func (c *repoCopy) copyBatch(ctx context.Context, batch []*ManifestRecord) error {
	if err := c.copyBlobs(ctx, batch); err != nil {
		return err
	}

	var puts []*copiedManifest

	for _, m := range batch {
		whole, err := c.isWhole(ctx, m)
		if err != nil {
			return err
		}

		if whole {
			continue
		}

		put, err := c.prepare(ctx, m)
		if err != nil {
			c.fail(m.Digest, err)

			continue
		}

		puts = append(puts, put)
	}

	return c.put(ctx, puts)
}

// isWhole says whether the target has a manifest as the source has it.
func (c *repoCopy) isWhole(ctx context.Context, m *ManifestRecord) (bool, error) {
	had, ok := c.dst.visible.Load().manifests.Get(m.Digest)
	if !ok || c.opts.Exact && (!had.Pushed.Equal(m.Pushed) || had.Who != m.Who) {
		return false, nil
	}

	return c.has(ctx, m.Digest, m.Size, true)
}

// fail notes that something cannot be copied.
func (c *repoCopy) fail(dgst digest.Digest, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()

	c.failed[dgst] = err
}

// lacks returns what keeps a manifest from being copied: that it names something that
// cannot be.
func (c *repoCopy) lacks(m *ManifestRecord) error {
	c.mu.Lock()
	defer c.mu.Unlock()

	for dgst := range m.names() {
		if err := c.failed[dgst]; err != nil {
			return fmt.Errorf("%w: manifest %s lacks %s", ErrDamaged, m.Digest, dgst)
		}
	}

	return nil
}

// stays says whether a manifest is one that cannot be copied.
func (c *repoCopy) stays(dgst digest.Digest) bool {
	return c.failed[dgst] != nil
}
