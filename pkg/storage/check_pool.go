package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
)

// Words for what may be wrong in the pool of a bucket.
const kindStoneDamaged = "tombstone-damaged"

// checkPool reads all bytes that a bucket has, each object once.
func (c *check) checkPool(ctx context.Context, pool PoolLister) error {
	var last digest.Digest

	for object, err := range pool.ListPool(ctx, c.position.After) {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return fmt.Errorf("look for blobs: %w", err)
		}

		if object.Digest != last && object.Known {
			last = object.Digest

			if err := c.checkStone(ctx, pool, last); err != nil {
				return err
			}
		}

		if err := c.checkPooled(ctx, pool, object); err != nil {
			return err
		}

		if err := c.done(ctx, object.Key); err != nil {
			return err
		}
	}

	return nil
}

func (c *check) checkStone(ctx context.Context, pool PoolLister, dgst digest.Digest) error {
	err := pool.CheckStone(ctx, dgst)
	if errors.Is(err, ErrDamaged) {
		c.report(Finding{Severity: Problem, Kind: kindStoneDamaged, Key: dgst.String() + "/tombstone", Digest: dgst, Text: err.Error()})
	} else if errors.Is(err, ErrFormat) {
		c.report(Finding{Severity: Unchecked, Kind: kindStoneDamaged, Key: dgst.String() + "/tombstone", Digest: dgst, Text: err.Error()})
	} else if err != nil {
		return err
	}

	return nil
}

func (p Pooled) spot() spot { return spot{p.Repo, p.Place} }

// placed is the engine's key of an object with bytes. Any repository's leads to those that
// are shared.
func (p Pooled) placed() string {
	repo := p.Repo
	if repo == "" {
		repo = "any"
	}

	return placedKey(repo, p.Digest, p.Place)
}

func (c *check) checkPooled(ctx context.Context, pool PoolLister, object Pooled) error {
	if !object.Known {
		c.report(Finding{Severity: Notice, Kind: "stray", Key: object.Key, Text: object.Key + " is nothing of zot's"})

		return nil
	}

	if object.Place == "" || c.opts.Quick {
		return nil
	}

	for range 2 { // a second look: somebody may have replaced it
		why, err := c.look(ctx, object.placed(), object.Digest)

		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case isNotExist(err), err == nil && why == "" && !c.store.durability.marks.has(object.Digest, object.spot()):
			return nil
		case err != nil:
			c.report(Finding{
				Severity: Problem, Kind: kindBlobUnreadable, Repo: object.Repo, Key: object.Key, Digest: object.Digest, Text: err.Error(),
			})

			return nil //nolint:nilerr // told
		case why == "":
			return c.unmark(ctx, object)
		}
	}

	return c.damagedPooled(ctx, pool, object)
}

// unmark ends that an object is not served, which is right by now.
func (c *check) unmark(ctx context.Context, object Pooled) error {
	f := Finding{
		Severity: Problem, Kind: kindBlobMarked, Repo: object.Repo, Key: object.Key, Digest: object.Digest,
		Text: object.Key + " is marked as damaged, and can be read",
	}

	if c.opts.Repair {
		if err := c.store.durability.unmark(ctx, object.Digest, object.spot()); err != nil {
			return err
		}

		f.Mended, f.Remedy = true, "it is served again"
	}

	c.report(f)

	return nil
}

// damagedPooled marks an object for all replicas, and tells of it.
func (c *check) damagedPooled(ctx context.Context, pool PoolLister, object Pooled) error {
	holders, needed, err := c.holders(ctx, object)
	if err != nil {
		return err
	}

	if err := c.store.durability.mark(ctx, object.Digest, object.spot()); err != nil {
		return err
	}

	c.store.bodies.forget(object.Digest)

	f := Finding{
		Severity: Notice, Kind: kindBlobDamaged, Repo: object.Repo, Key: object.Key, Digest: object.Digest,
		Text: fmt.Sprintf("%s is damaged; it is held by %v", object.Key, holders),
	}
	if needed {
		f.Severity = Problem
	}

	if c.opts.Repair {
		if err := c.replacePooled(ctx, pool, object, holders, &f); err != nil {
			return err
		}
	}

	c.report(f)

	return nil
}

// holders are the repositories that hold an object, and whether one of them needs it.
func (c *check) holders(ctx context.Context, object Pooled) (holders []RepoName, needed bool, err error) {
	if object.Repo != "" {
		holders = []RepoName{object.Repo}
	} else if holders, err = c.store.holding(ctx, object.Digest); err != nil {
		return nil, false, err
	}

	for _, name := range holders {
		err := c.store.repos.with(ctx, name, c.store.repos.now(), func(r *repository) error {
			needed = needed || r.visible.Load().needs(object.Digest)

			return nil
		})
		if ctx.Err() != nil {
			return nil, false, ctx.Err()
		}

		needed = needed || err != nil // who knows
	}

	return holders, needed, nil
}

// replacePooled puts an object aside, and brings right bytes in its place, if a repository
// has them.
func (c *check) replacePooled(ctx context.Context, pool PoolLister, object Pooled, holders []RepoName, f *Finding) error {
	key := object.placed()
	if object.Repo == "" && len(holders) > 0 { // so that zot purge finds it
		key = placedKey(holders[0], object.Digest, object.Place)
	}

	f.Quarantined = quarantineKey(c.begun, key)

	finish, err := c.setAside(ctx, key, f.Quarantined)
	if err == nil {
		err = finish()
	}

	if err != nil {
		return err
	}

	if f.Severity == Notice {
		f.Mended = true

		return c.store.durability.unmark(ctx, object.Digest, object.spot())
	}

	twin, err := c.twinOfPooled(ctx, object)
	if err != nil {
		return err
	}

	if twin == "" {
		f.Remedy = "no other repository has it; a push of the same digest heals it"

		return nil
	}

	if err := pool.PutBack(ctx, twin, object.Key); err != nil {
		return err
	}

	f.Mended, f.Remedy = true, "its bytes are those of "+twin

	return c.store.durability.unmark(ctx, object.Digest, object.spot())
}

// twinOfPooled finds an object with the right bytes; "" if there is none.
func (c *check) twinOfPooled(ctx context.Context, object Pooled) (string, error) {
	repos, err := c.store.holding(ctx, object.Digest)
	if err != nil {
		return "", err
	}

	for _, repo := range slices.Compact(repos) {
		for info, err := range c.store.driver.List(ctx, BlobKey(repo, object.Digest)+"/", "") {
			if err != nil {
				return "", err
			}

			if info.Key == object.placed() || info.Size == 0 {
				continue
			}

			if why, err := c.look(ctx, info.Key, object.Digest); err == nil && why == "" {
				return info.Key, nil
			}
		}
	}

	return "", ctx.Err()
}

// checkPlaced looks whether what the state of a repository in a bucket needs is where it
// says. The driver looks elsewhere, too.
func (c *check) checkPlaced(ctx context.Context, name RepoName, st *state) error {
	var needed []digest.Digest

	st.manifests.Scan(func(dgst digest.Digest, _ *ManifestRecord) bool {
		needed = append(needed, dgst)

		return true
	})
	st.refs.Scan(func(dgst digest.Digest, named ref) bool {
		if _, isManifest := st.manifests.Get(dgst); named.size >= 0 && !isManifest {
			needed = append(needed, dgst)
		}

		return true
	})

	missing := make([]bool, len(needed))

	err := c.store.each(len(needed), func(i int) (err error) {
		missing[i], err = c.isMissing(ctx, name, st, needed[i])

		return err
	})
	if err != nil {
		return err
	}

	for i, dgst := range needed {
		if missing[i] {
			if err := c.confirmMissing(ctx, name, st, dgst); err != nil {
				return err
			}
		}
	}

	return nil
}

// isMissing says whether the bytes of a blob are not there, or are too short or long.
func (c *check) isMissing(ctx context.Context, name RepoName, st *state, dgst digest.Digest) (bool, error) {
	size, at, _ := st.lookup(dgst)

	info, err := c.store.driver.Stat(ctx, placedKey(name, dgst, at))
	if isNotExist(err) && at != "" {
		info, err = c.store.driver.Stat(ctx, BlobKey(name, dgst))
	}

	if isNotExist(err) {
		return true, nil
	}

	return err == nil && size >= 0 && info.Size != size, err
}

// confirmMissing looks again, between two looks at the state: what is needed at the same
// place before and after was needed meanwhile, since no place is used twice.
func (c *check) confirmMissing(ctx context.Context, name RepoName, before *state, dgst digest.Digest) error {
	for range maxLooks {
		var now *state

		err := c.store.repos.with(ctx, name, c.store.repos.now(), func(r *repository) error {
			now = r.visible.Load()

			return nil
		})
		if err != nil {
			return err
		}

		_, was, _ := before.lookup(dgst)

		_, at, known := now.lookup(dgst)
		if !known {
			return nil
		}

		if at == was {
			c.report(Finding{
				Severity: Problem, Kind: kindBlobMissing, Repo: name, Key: BlobKey(name, dgst), Digest: dgst,
				Text: fmt.Sprintf("%s@%s is not there, or not whole", name, dgst), Remedy: "a push of the same digest heals it",
			})

			if at == "" { // it is looked for each time
				return nil
			}

			return c.store.durability.mark(ctx, dgst, c.spotOf(name, dgst, at))
		}

		gone, err := c.isMissing(ctx, name, now, dgst)
		if err != nil || !gone {
			return err
		}

		before = now
	}

	return nil
}

// spotOf says whether a place is a repository's own.
func (c *check) spotOf(name RepoName, dgst digest.Digest, at string) spot {
	if pool, ok := c.store.driver.(Pool); ok {
		if _, own := pool.Number(placedKey(name, dgst, at)); !own {
			name = ""
		}
	}

	return spot{name, at}
}
