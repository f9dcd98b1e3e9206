package storage

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
)

// replace puts damaged bytes aside, and brings right ones in their place, if there are any.
// Who reads meanwhile finds the mark.
func (c *check) replace(ctx context.Context, r *repository, dgst digest.Digest, f *Finding) error {
	to := quarantineKey(c.begun, f.Key)

	finish, err := c.setAside(ctx, f.Key, to)
	if err == nil {
		err = finish()
	}

	if err != nil {
		return err
	}

	f.Quarantined = to

	if f.Severity == Notice {
		f.Mended = true // nothing needs it

		return nil // confirm forgets the mark
	}

	return c.heal(ctx, r, dgst, f)
}

// heal brings the bytes of a digest from another repository.
func (c *check) heal(ctx context.Context, r *repository, dgst digest.Digest, f *Finding) error {
	twin, err := c.twin(ctx, dgst, f.Key)
	if err != nil {
		return err
	}

	if twin == "" {
		f.Remedy = "no other repository has it; a push of the same digest heals it"

		return nil
	}

	begun := c.store.durability.writing(f.Key)

	_, err = c.store.driver.Link(ctx, twin, f.Key)
	if errors.Is(err, errors.ErrUnsupported) {
		err = c.copyOver(ctx, r, dgst, twin)
	} else if err == nil {
		err = c.store.arrived(ctx, dgst, f.Key, begun)
	}

	if err != nil {
		return fmt.Errorf("bring %s from %s: %w", f.Key, twin, err)
	}

	f.Mended, f.Remedy = true, "its bytes are those of "+twin

	return c.store.durability.flush(ctx)
}

// twin finds a key at which the bytes of a digest are whole; "" if there is none.
func (c *check) twin(ctx context.Context, dgst digest.Digest, not string) (string, error) {
	if known, ok := c.twins[dgst]; ok && known != not {
		return known, nil
	}

	keys := c.store.cachedKeys(ctx, dgst, -1)

	holding, err := c.store.holding(ctx, dgst)
	if err != nil {
		return "", err
	}

	for _, repo := range holding {
		keys = append(keys, BlobKey(repo, dgst))
	}

	for _, key := range keys {
		if _, of, ok := SplitBlobKey(key); !ok || of != dgst || key == not || c.store.durability.isDamaged(key) {
			continue
		}

		if why, err := c.look(ctx, key, dgst); err == nil && why == "" {
			c.twins[dgst] = key

			return key, nil
		}
	}

	return "", ctx.Err()
}

// copyOver writes the bytes of a key anew, as those of a blob of r, and flushes them.
func (c *check) copyOver(ctx context.Context, r *repository, dgst digest.Digest, from string) (err error) {
	key := BlobKey(r.name, dgst)
	begun := c.store.durability.writing(key)

	up, err := c.store.driver.CreateUpload(ctx, UploadKey(r.name, c.store.driver.NameUpload(r.name)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, up.Close()) }()

	if err := c.fill(ctx, up, dgst, from); err != nil {
		return errors.Join(err, up.Abort(ctx))
	}

	if _, err := up.Commit(ctx, key); err != nil {
		return err
	}

	if err := c.store.arrived(ctx, dgst, key, begun); err != nil {
		return err
	}

	return c.store.durability.flush(ctx)
}

// fill appends the bytes of a key to an upload.
//
// Errors: ErrDamaged if they are not those of the digest.
func (c *check) fill(ctx context.Context, up Upload, dgst digest.Digest, from string) (err error) {
	object, err := c.store.driver.Open(ctx, from, Whole)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, object.Close()) }()

	const step = 1 << 20

	buffer := make([]byte, step)
	verifier := dgst.Verifier()

	for {
		n, err := object.Body.Read(buffer)
		if n > 0 {
			_, _ = verifier.Write(buffer[:n]) // a hash takes all

			if err := up.Append(ctx, buffer[:n]); err != nil {
				return err
			}
		}

		if isEnd(err) && !verifier.Verified() {
			return fmt.Errorf("%w: what was read of %s is not %s", ErrDamaged, from, dgst)
		}

		if isEnd(err) {
			return nil
		}

		if err != nil {
			return err
		}
	}
}
