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

		c.done(ctx, object.Key)
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

// placed is the engine's key of an object with bytes.
func (p Pooled) placed() string { return p.spot().key(p.Digest) }

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

// damagedPooled marks what is damaged for all replicas, if requests are led there, and tells
// of it.
func (c *check) damagedPooled(ctx context.Context, pool PoolLister, object Pooled) error {
	use, err := c.useOf(ctx, object)
	if err != nil {
		return err
	}

	for _, at := range use.led {
		if err := c.store.durability.mark(ctx, object.Digest, at); err != nil {
			return err
		}
	}

	c.store.bodies.forget(object.Digest)

	f := Finding{
		Severity: Notice, Kind: kindBlobDamaged, Repo: object.Repo, Key: object.Key, Digest: object.Digest,
		Text: fmt.Sprintf("%s is damaged; it is held by %v", object.Key, use.holders),
	}
	if use.needed {
		f.Severity = Problem
	}

	if c.opts.Repair {
		if err := c.replacePooled(ctx, pool, object, use, &f); err != nil {
			return err
		}
	}

	c.report(f)

	return nil
}

// pooledUse is what an object is there for.
type pooledUse struct {
	holders []RepoName
	needed  bool   // by one of them, where requests are led to the object
	led     []spot // places from which they are, each once
}

// useOf finds out what an object is there for. Whoever shall hold what all share, and nobody
// does, is led there.
func (c *check) useOf(ctx context.Context, object Pooled) (use pooledUse, err error) {
	if object.Repo != "" {
		use.holders = []RepoName{object.Repo}
	} else if use.holders, err = c.store.holding(ctx, object.Digest); err != nil {
		return use, err
	}

	if len(use.holders) == 0 {
		use.led = []spot{object.spot()}
	}

	for _, name := range use.holders {
		at, isLed, needed := object.spot(), true, true // if its repository cannot be loaded, who knows

		err := c.store.repos.with(ctx, name, c.store.repos.now(), func(r *repository) (err error) {
			needed = r.visible.Load().needs(object.Digest)
			at, isLed, err = c.ledTo(ctx, r, object)

			return err
		})
		if ctx.Err() != nil {
			return use, ctx.Err()
		}

		if err != nil {
			at, isLed = object.spot(), true
		}

		use.needed = use.needed || isLed && needed

		if isLed && !slices.Contains(use.led, at) {
			use.led = append(use.led, at)
		}
	}

	return use, nil
}

// ledTo says whether requests to r for a blob are led to an object, and from which place: that
// is another one where nothing is at the place that the state names, since the driver looks
// elsewhere then.
func (c *check) ledTo(ctx context.Context, r *repository, object Pooled) (from spot, ok bool, err error) {
	st := r.visible.Load()

	_, at, _ := st.lookup(object.Digest)
	if at == object.Place {
		return object.spot(), true, nil
	}

	from = object.spot()

	if at != "" {
		from = c.store.spotOf(r.name, object.Digest, at)
		if gone, err := c.store.durability.isGone(ctx, object.Digest, from); !gone || err != nil {
			return spot{}, false, err
		}
	}

	info, err := c.store.find(ctx, r, st, object.Digest)
	if isNotExist(err) {
		return spot{}, false, nil
	}

	return from, placeOf(BlobKey(r.name, object.Digest), info.Key) == object.Place, err
}

// replacePooled brings right bytes in the place of an object, if a repository has them; what
// was there is put aside. Else it stays: it is marked, and a push may heal it at any moment.
// What requests are not led to no push heals, and it goes.
func (c *check) replacePooled(ctx context.Context, pool PoolLister, object Pooled, use pooledUse, f *Finding) error {
	if len(use.led) == 0 {
		finish, err := c.pooledAside(ctx, object, use, f)
		if err == nil {
			err = finish()
		}

		if err != nil {
			return err
		}

		f.Mended = true

		return c.store.durability.unmark(ctx, object.Digest, object.spot())
	}

	if f.Severity == Notice {
		return nil
	}

	twin, err := c.twinOfPooled(ctx, object)
	if err != nil {
		return err
	}

	if twin == "" {
		f.Remedy = "no other repository has it; a push of the same digest heals it"

		return nil
	}

	if _, err := c.pooledAside(ctx, object, use, f); err != nil {
		return err
	}

	if err := pool.PutBack(ctx, twin, object.Key); err != nil {
		return err
	}

	f.Mended, f.Remedy = true, "its bytes are those of "+twin

	for _, at := range use.led {
		if err := c.store.durability.unmark(ctx, object.Digest, at); err != nil {
			return err
		}
	}

	return nil
}

// pooledAside copies an object to the quarantine.
func (c *check) pooledAside(ctx context.Context, object Pooled, use pooledUse, f *Finding) (finish func() error, err error) {
	key := object.placed()
	if object.Repo == "" && len(use.holders) > 0 { // so that zot purge finds it
		key = placedKey(use.holders[0], object.Digest, object.Place)
	}

	f.Quarantined = quarantineKey(c.begun, key)

	return c.setAside(ctx, key, f.Quarantined)
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
