package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
)

// In a bucket other processes collect, too. What they have to know of an answer is in the
// records of the repository: a deleter condemns what nothing needs, waits longer than any
// answer counts that rests on an older state, and sweeps what is condemned still. So an
// answer rests on a state in which the blob is not condemned, and which is at most
// Staleness old when the answer leaves. docs/s3-format.md, "Deleting", has the protocol.

// maxLooks is how often the state may change under an answer.
const maxLooks = 10

// renewed calls look until what it has found rests on such a state (H0).
func (s *Store) renewed(ctx context.Context, r *repository, dgst digest.Digest, look func() error) error {
	for range maxLooks {
		if err := s.renew(r, dgst); err != nil {
			return err
		}

		seen := r.visible.Load().seq

		if err := look(); err != nil {
			return err
		}

		if err := r.look(ctx, s.repos.recent()); err != nil {
			return err
		}

		if st := r.visible.Load(); !st.isCondemned(dgst) && !st.sweptSince(dgst, seen) {
			return nil
		}
	}

	return unsettled(r, dgst)
}

// announce has r hold a blob whose verified bytes put brings, and returns when that may be
// counted on (U0 to U4). put returns where they are. Usually the state by which they were
// brought is young enough, and no request is needed to look again.
func (s *Store) announce(ctx context.Context, r *repository, dgst digest.Digest, put func() (placed string, err error)) error {
	if err := s.renew(r, dgst); err != nil { // so that it is not swept meanwhile
		return err
	}

	seen := r.visible.Load().seq

	placed, err := put()
	if err != nil {
		return err
	}

	for range maxLooks {
		if pool, ok := s.driver.(Pool); ok { // what was sent in parts may have been named long ago
			if number, ok := pool.Number(placed); ok {
				seen = min(seen, number)
			}
		}

		if err := r.look(ctx, s.repos.recent()); err != nil {
			return err
		}

		if err := s.renew(r, dgst); err != nil {
			return err
		}

		st := r.visible.Load()
		if st.countsFrom(dgst) <= seen {
			return nil
		}

		seen = st.seq

		if placed, err = s.driver.Link(ctx, placed, BlobKey(r.name, dgst)); err != nil {
			return fmt.Errorf("%w: %s was swept while it was pushed: %w", ErrUnavailable, dgst, err)
		}
	}

	return unsettled(r, dgst)
}

// isNamed says whether a manifest of r names a blob whose size bytes are there. Then nothing
// need be written to have r hold it: the answer is that of a look (H0). Where the caller has the
// bytes, body, what is there is compared. What is wrong is marked, so that a push replaces it.
func (s *Store) isNamed(ctx context.Context, r *repository, dgst digest.Digest, size int64, body []byte) (named bool, err error) {
	err = s.renewed(ctx, r, dgst, func() error {
		had, _, _ := r.visible.Load().lookup(dgst)

		known, right, err := s.hasNamed(ctx, r, dgst, body)
		named = known && right && had == size

		return err
	})

	return named, err
}

// hasNamed says whether a manifest of r names a blob, and whether the right bytes are where it
// says, as isNamed does.
func (s *Store) hasNamed(ctx context.Context, r *repository, dgst digest.Digest, body []byte) (named, right bool, err error) {
	size, at, known := r.visible.Load().lookup(dgst)
	if !known || at == "" {
		return false, false, nil
	}

	right, err = s.hasBytes(ctx, placedKey(r.name, dgst, at), size, body)
	if !right && err == nil {
		s.durability.markDamaged(ctx, BlobKey(r.name, dgst), "it is not what was pushed, or missing")
	}

	return true, right, err
}

// hasBytes says whether size bytes that may be served are at a placed key; body, unless it is nil.
// To read them alone is not enough: where nothing is a driver may find the blob elsewhere.
func (s *Store) hasBytes(ctx context.Context, key string, size int64, body []byte) (bool, error) {
	if s.durability.isDamaged(key) {
		return false, nil
	}

	var (
		info  Info
		there []byte
	)

	looks := []func() error{
		func() (err error) { info, err = s.driver.Stat(ctx, key); return err },
		func() (err error) { there, err = readObject(ctx, s.driver, key, size); return err },
	}
	if body == nil {
		looks = looks[:1]
	}

	err := s.each(len(looks), func(i int) error { return looks[i]() })
	if isNotExist(err) || errors.Is(err, ErrDamaged) {
		return false, nil
	}

	return info.Size == size && (body == nil || bytes.Equal(there, body)), err
}

// renew ends that a blob is condemned, if it is.
func (s *Store) renew(r *repository, dgst digest.Digest) error {
	if !r.visible.Load().isCondemned(dgst) {
		return nil
	}

	return r.commit(gcUser, func(pending *state) ([]Op, error) {
		if !pending.isCondemned(dgst) {
			return nil, nil
		}

		return []Op{{Kind: OpRenew, Digest: dgst}}, nil
	})
}

func unsettled(r *repository, dgst digest.Digest) error {
	return fmt.Errorf("%w: blob %s of %s is swept again and again", ErrUnavailable, dgst, r.name)
}
