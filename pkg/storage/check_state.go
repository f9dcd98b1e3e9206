package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
)

// Words for what may be wrong with what a repository says, and has.
const (
	kindTagDangling     = "tag-dangling"
	kindManifestMissing = "manifest-missing"
	kindManifestDiffers = "manifest-differs"
	kindBlobMissing     = "blob-missing"
	kindBlobDamaged     = "blob-damaged"
	kindBlobMarked      = "blob-marked"
	kindBlobUnreadable  = "blob-unreadable"
)

// checkState looks whether all that the state of a repository names is there, and agrees.
// rotten says that it was told already that there is none.
func (c *check) checkState(ctx context.Context, name RepoName, rotten bool) error {
	var st *state

	err := c.store.repos.with(ctx, name, c.store.repos.now(), func(r *repository) error {
		st = r.visible.Load()

		return nil
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}

	if err != nil {
		if !rotten {
			c.report(unloadable(name, err).finding(name))
		}

		return nil
	}

	c.checkTags(name, st)

	for _, record := range st.manifests.Values() {
		c.position.Report.Manifests++

		if c.checkManifest(ctx, name, st, record); ctx.Err() != nil {
			return ctx.Err()
		}
	}

	if c.store.remote {
		return c.checkPlaced(ctx, name, st)
	}

	return c.checkPresent(ctx, name, st)
}

func (c *check) checkTags(name RepoName, st *state) {
	st.tags.Scan(func(tag Tag, entry tagEntry) bool {
		if _, ok := st.manifests.Get(entry.Digest); !ok {
			c.report(Finding{
				Severity: Problem, Kind: kindTagDangling, Repo: name, Key: RepoPrefix(name) + string(tag), Digest: entry.Digest,
				Text: fmt.Sprintf("tag %s:%s points to %s, which is no manifest there", name, tag, entry.Digest),
			})
		}

		return true
	})
}

// checkManifest compares what is known of a manifest with its bytes. Whether these are what
// their digest says, checkBlobs tells.
func (c *check) checkManifest(ctx context.Context, name RepoName, st *state, record *ManifestRecord) {
	for _, child := range record.Manifests {
		if _, ok := st.manifests.Get(child.Digest); !ok && child.Size >= 0 {
			c.report(Finding{
				Severity: Problem, Kind: kindManifestMissing, Repo: name, Key: BlobKey(name, child.Digest), Digest: child.Digest,
				Text: fmt.Sprintf("index %s@%s names %s, which is no manifest there", name, record.Digest, child.Digest),
			})
		}
	}

	if c.store.remote && c.opts.Quick || record.Size > MaxManifest {
		return
	}

	body, err := readObject(ctx, c.store.driver, placedKey(name, record.Digest, record.At), MaxManifest)
	if err != nil || record.Digest.Algorithm().FromBytes(body) != record.Digest {
		return // its bytes are looked at with all others
	}

	parsed, err := parseManifest(body, record.Digest, record.MediaType)
	if err == nil && parsed.agrees(record) {
		return
	}

	text := "its record names other things than its bytes do"
	if err != nil {
		text = err.Error()
	}

	c.report(Finding{
		Severity: Problem, Kind: kindManifestDiffers, Repo: name, Key: BlobKey(name, record.Digest), Digest: record.Digest,
		Text: fmt.Sprintf("manifest %s@%s: %s", name, record.Digest, text),
	})
}

// agrees says whether two records name the same.
func (m *ManifestRecord) agrees(other *ManifestRecord) bool {
	same := func(a, b Ref) bool { return a.Digest == b.Digest }

	return m.Subject == other.Subject && slices.EqualFunc(m.Blobs, other.Blobs, same) &&
		slices.EqualFunc(m.Manifests, other.Manifests, same)
}

// checkPresent looks whether the bytes of all that a state needs are there, with the size
// that they should have.
func (c *check) checkPresent(ctx context.Context, name RepoName, st *state) error {
	var failed error

	look := func(dgst digest.Digest) bool {
		failed = errors.Join(c.checkNeeded(ctx, name, st, dgst), ctx.Err())

		return failed == nil
	}

	st.manifests.Scan(func(dgst digest.Digest, _ *ManifestRecord) bool { return look(dgst) })
	st.refs.Scan(func(dgst digest.Digest, named ref) bool { return failed == nil && (named.size < 0 || look(dgst)) })
	st.burials.Scan(func(_ digest.Digest, b *burial) bool {
		for _, named := range append(slices.Concat(b.Manifest.Blobs, b.Manifest.Manifests), Ref{Digest: b.Manifest.Digest}) {
			if failed == nil && named.Size >= 0 && !look(named.Digest) {
				return false
			}
		}

		return failed == nil
	})

	return failed
}

// checkNeeded looks at one blob, as the state was a moment ago, and if it is not there, as
// it is now.
func (c *check) checkNeeded(ctx context.Context, name RepoName, st *state, dgst digest.Digest) error {
	info, err := c.store.driver.Stat(ctx, BlobKey(name, dgst))
	if size, _, known := st.lookup(dgst); err == nil && (!known || size == info.Size) {
		return nil
	}

	return c.confirm(ctx, name, dgst, func(r *repository) error { return c.confirmNeeded(ctx, r, dgst) })
}

// confirm calls look with a repository in which GC leaves a blob alone meanwhile, and nobody
// pushes it. Who wants to waits, so it reads as fast as it can.
func (c *check) confirm(ctx context.Context, name RepoName, dgst digest.Digest, look func(*repository) error) error {
	return c.store.repos.with(ctx, name, c.store.repos.now(), func(r *repository) error {
		if err := c.alone(r, dgst, look); err != nil {
			return err
		}

		return c.unmarkGone(ctx, r, dgst)
	})
}

func (c *check) alone(r *repository, dgst digest.Digest, look func(*repository) error) error {
	defer c.store.pin(r, dgst).end(nil)
	defer c.store.placing.lock(dgst)()

	c.confirming = true
	defer func() { c.confirming = false }()

	return look(r)
}

// unmarkGone forgets the mark of a blob that was put aside and that nothing needs, unless a
// commit under way may have seen it before.
func (c *check) unmarkGone(ctx context.Context, r *repository, dgst digest.Digest) error {
	key := BlobKey(r.name, dgst)
	if !c.opts.Repair || !c.store.durability.isDamaged(key) {
		return nil
	}

	spare, ok := c.store.leases.doom(key, 0)
	if !ok {
		return nil
	}
	defer spare()

	_, err := c.store.driver.Stat(ctx, key)
	if err == nil || r.visible.Load().needs(dgst) {
		return nil
	}

	if !isNotExist(err) {
		return err
	}

	return c.store.durability.healed(ctx, key)
}

func (c *check) confirmNeeded(ctx context.Context, r *repository, dgst digest.Digest) error {
	st := r.visible.Load()
	if !st.needs(dgst) {
		return nil
	}

	key := BlobKey(r.name, dgst)
	info, err := c.store.driver.Stat(ctx, key)
	size, _, known := st.lookup(dgst)

	switch {
	case isNotExist(err):
		return c.missing(ctx, r, dgst)
	case err != nil:
		c.report(Finding{Severity: Problem, Kind: kindBlobUnreadable, Repo: r.name, Key: key, Digest: dgst, Text: err.Error()})
	case known && info.Size != size:
		return c.damaged(ctx, r, dgst, fmt.Sprintf("it is %d bytes long, not %d", info.Size, size))
	}

	return nil
}

// missing tells that bytes are not there, and brings them from where else they are.
func (c *check) missing(ctx context.Context, r *repository, dgst digest.Digest) error {
	key := BlobKey(r.name, dgst)
	f := Finding{
		Severity: Problem, Kind: kindBlobMissing, Repo: r.name, Key: key, Digest: dgst,
		Text: fmt.Sprintf("%s@%s is not there%s", r.name, dgst, c.namedBy(r, dgst)),
	}

	if c.opts.Repair {
		if err := c.heal(ctx, r, dgst, &f); err != nil {
			return err
		}
	}

	c.report(f)

	return nil
}

// namedBy says to people what needs a blob.
func (c *check) namedBy(r *repository, dgst digest.Digest) string {
	st := r.visible.Load()
	for namer := range st.namers(dgst) {
		return ", and manifest " + string(namer) + " names it"
	}

	if tags := st.tagsOf(dgst); len(tags) > 0 {
		return ", and tag " + string(tags[0]) + " points to it"
	}

	return ""
}
