package storage

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
)

// StatBlob implements Blobs.
func (s *Store) StatBlob(ctx context.Context, repo RepoName, dgst digest.Digest) (int64, error) {
	size := int64(0)
	err := s.repos.with(ctx, repo, func(r *repository) (err error) {
		size, err = s.stat(ctx, r, dgst)
		if errors.Is(err, ErrDamaged) {
			err = fmt.Errorf("%w: %s", ErrBlobUnknown, dgst) // so that the client pushes it again
		}

		return err
	})

	return size, err
}

// OpenBlob implements Blobs.
func (s *Store) OpenBlob(ctx context.Context, repo RepoName, dgst digest.Digest, rng Range) (*Object, error) {
	var object *Object

	err := s.repos.with(ctx, repo, func(r *repository) (err error) {
		object, err = s.open(ctx, r, dgst, rng)

		return err
	})

	return object, err
}

// DeleteBlob implements Blobs.
func (s *Store) DeleteBlob(ctx context.Context, repo RepoName, dgst digest.Digest, who string) error {
	return s.repos.with(ctx, repo, func(r *repository) error {
		if _, err := s.stat(ctx, r, dgst); err != nil && !errors.Is(err, ErrDamaged) {
			return err
		}

		return r.commit(who, func(pending *state) ([]Op, error) {
			if pending.isHidden(dgst) {
				return nil, fmt.Errorf("%w: %s", ErrBlobUnknown, dgst)
			}

			if pending.inUse(dgst) {
				return nil, fmt.Errorf("%w: a manifest names %s", ErrInUse, dgst)
			}

			return []Op{{Kind: OpHideBlob, Digest: dgst}}, nil
		})
	})
}

// stat returns the size of a blob that r holds.
//
// Errors: ErrBlobUnknown; ErrDamaged if it is there, but is not what it should be.
func (s *Store) stat(ctx context.Context, r *repository, dgst digest.Digest) (int64, error) {
	st := r.visible.Load()
	if st.isHidden(dgst) {
		return 0, fmt.Errorf("%w: %s", ErrBlobUnknown, dgst)
	}

	info, err := s.driver.Stat(ctx, BlobKey(r.name, dgst))
	if err != nil {
		return 0, blobError(dgst, err)
	}

	return info.Size, s.checkSize(ctx, r, st, dgst, info.Size)
}

// open opens a blob that r holds. The size is checked before any byte is given out.
func (s *Store) open(ctx context.Context, r *repository, dgst digest.Digest, rng Range) (*Object, error) {
	st := r.visible.Load()
	if st.isHidden(dgst) {
		return nil, fmt.Errorf("%w: %s", ErrBlobUnknown, dgst)
	}

	object, err := s.driver.Open(ctx, BlobKey(r.name, dgst), rng)
	if err != nil {
		return nil, blobError(dgst, err)
	}

	if err := s.checkSize(ctx, r, st, dgst, object.Size); err != nil {
		return nil, errors.Join(err, object.Close())
	}

	return object, nil
}

func blobError(dgst digest.Digest, err error) error {
	if isNotExist(err) {
		return fmt.Errorf("%w: %s", ErrBlobUnknown, dgst)
	}

	return fmt.Errorf("blob %s: %w", dgst, err)
}

// checkSize says whether stored bytes can be what a manifest says they are. If not,
// the blob is marked, until the same digest is pushed again.
//
// Errors: ErrDamaged.
func (s *Store) checkSize(ctx context.Context, r *repository, st *state, dgst digest.Digest, size int64) error {
	key := BlobKey(r.name, dgst)

	if want, known := st.sizeOf(dgst); known && want != size {
		s.durability.markDamaged(ctx, key, fmt.Sprintf("it is %d bytes long, not %d", size, want))
	}

	if s.durability.isDamaged(key) {
		return fmt.Errorf("%w: blob %s", ErrDamaged, dgst)
	}

	return nil
}

// verify reads a blob whole, and marks it if it is not what its name says.
//
// Errors: ErrDamaged, ErrBlobUnknown.
func (s *Store) verify(ctx context.Context, r *repository, dgst digest.Digest) (err error) {
	object, err := s.open(ctx, r, dgst, Whole)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, object.Close()) }()

	got, err := dgst.Algorithm().FromReader(object.Body)
	if err != nil {
		return fmt.Errorf("verify blob %s: %w", dgst, err)
	}

	if got != dgst {
		s.durability.markDamaged(ctx, BlobKey(r.name, dgst), "its content is "+got.String())

		return fmt.Errorf("%w: blob %s", ErrDamaged, dgst)
	}

	return nil
}

// readObject reads a small object whole.
//
// Errors: fs.ErrNotExist; ErrDamaged if it is longer than limit.
func readObject(ctx context.Context, driver Driver, key string, limit int64) (data []byte, err error) {
	object, err := driver.Open(ctx, key, Whole)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", key, err)
	}
	defer func() { err = errors.Join(err, object.Close()) }()

	if object.Size > limit {
		return nil, fmt.Errorf("%w: %s is %d bytes long, at most %d are expected", ErrDamaged, key, object.Size, limit)
	}

	data = make([]byte, object.Size)
	if _, err := io.ReadFull(object.Body, data); err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}

	return data, nil
}
