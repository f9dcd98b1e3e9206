package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
)

// place makes the verified bytes of an upload visible in r under their digest. The
// order is bytes, cache, index: a crash leaves bytes that nobody names, never a name
// without bytes. Bytes that the store has already are linked, and the upload dropped.
func (s *Store) place(ctx context.Context, r *repository, dgst digest.Digest, up Upload, who string) error {
	unlock := s.placing.lock(dgst)
	defer unlock()

	if err := s.settleBytes(ctx, r, dgst, up); err != nil {
		return err
	}

	return s.show(ctx, r, dgst, who)
}

// settleBytes brings the bytes to their key: from where they are already, or from
// the upload.
func (s *Store) settleBytes(ctx context.Context, r *repository, dgst digest.Digest, up Upload) error {
	key := BlobKey(r.name, dgst)

	if s.holds(ctx, key, up.Size()) {
		s.remember(ctx, dgst, key)

		return up.Abort(ctx)
	}

	if s.linkKnown(ctx, dgst, key, up.Size()) {
		return errors.Join(s.arrived(ctx, dgst, key), up.Abort(ctx))
	}

	if err := up.Commit(ctx, key); err != nil {
		return fmt.Errorf("commit blob %s: %w", dgst, err)
	}

	return s.arrived(ctx, dgst, key)
}

// holds says whether key has size bytes that may be served.
func (s *Store) holds(ctx context.Context, key string, size int64) bool {
	info, err := s.driver.Stat(ctx, key)

	return err == nil && info.Size == size && !s.durability.isDamaged(key)
}

// maxStale is how many wrong answers of the cache one upload puts right.
const maxStale = 8

// linkKnown makes key the same bytes as one that the cache knows. An answer that
// proves wrong is forgotten.
func (s *Store) linkKnown(ctx context.Context, dgst digest.Digest, key string, size int64) bool {
	for range maxStale {
		known, err := s.cache.GetBlob(ctx, dgst)
		s.cacheHealth.note(err)

		if err != nil {
			return false
		}

		if known != key && s.holds(ctx, known, size) {
			return s.link(ctx, dgst, known, key)
		}

		s.forget(ctx, dgst, known)
	}

	return false
}

// link links key to bytes that are there. Where they can take no more links (ext4
// stops at 65,000), all that is known of the digest is forgotten, and the copy that
// the caller keeps becomes the one that later uploads link to.
func (s *Store) link(ctx context.Context, dgst digest.Digest, known, key string) bool {
	err := s.driver.Link(ctx, known, key)
	if errors.Is(err, errors.ErrUnsupported) {
		for _, full := range s.cachedKeys(ctx, dgst) {
			s.forget(ctx, dgst, full)
		}
	}

	if err != nil {
		s.opts.Log.Debug().Err(err).Str("blob", key).Msg("cannot link a blob; keeping a copy")
	}

	return err == nil
}

// arrived notes that key has new bytes.
func (s *Store) arrived(ctx context.Context, dgst digest.Digest, key string) error {
	s.durability.wrote(key)
	s.remember(ctx, dgst, key)

	return s.durability.healed(ctx, key)
}

// show makes a blob visible that was deleted before. Its bytes are on disk first.
func (s *Store) show(ctx context.Context, r *repository, dgst digest.Digest, who string) error {
	if !r.visible.Load().isHidden(dgst) {
		return nil
	}

	if err := s.durability.settle(ctx); err != nil {
		return err
	}

	return r.commit(who, func(pending *state) ([]Op, error) {
		if !pending.isHidden(dgst) {
			return nil, nil
		}

		return []Op{{Kind: OpShowBlob, Digest: dgst}}, nil
	})
}

// MountBlob implements Blobs.
func (s *Store) MountBlob(ctx context.Context, repo RepoName, dgst digest.Digest, from RepoName, who string) error {
	size, err := s.StatBlob(ctx, from, dgst)
	if err != nil {
		return err
	}

	return s.repos.with(ctx, repo, func(r *repository) error {
		unlock := s.placing.lock(dgst)
		defer unlock()

		key := BlobKey(repo, dgst)
		if !s.holds(ctx, key, size) {
			if err := s.driver.Link(ctx, BlobKey(from, dgst), key); err != nil {
				return mountError(dgst, err)
			}

			if err := s.arrived(ctx, dgst, key); err != nil {
				return err
			}
		}

		return s.show(ctx, r, dgst, who)
	})
}

func mountError(dgst digest.Digest, err error) error {
	if errors.Is(err, errors.ErrUnsupported) || isNotExist(err) {
		return fmt.Errorf("%w: %s cannot be shared: %w", ErrBlobUnknown, dgst, err)
	}

	return fmt.Errorf("mount %s: %w", dgst, err)
}

// maxFound is how many repositories FindBlob names.
const maxFound = 16

// FindBlob implements Blobs.
func (s *Store) FindBlob(ctx context.Context, repo RepoName, dgst digest.Digest) []RepoName {
	if _, err := s.StatBlob(ctx, repo, dgst); err == nil {
		return []RepoName{repo}
	}

	var found []RepoName

	for _, key := range s.cachedKeys(ctx, dgst) {
		name, of, ok := splitBlobKey(key)
		if len(found) < maxFound && ok && of == dgst && !slices.Contains(found, name) {
			found = append(found, name)
		}
	}

	return found
}

// The cache is a hint: what it cannot answer is a miss, and what it cannot take in
// is not remembered.

func (s *Store) cachedKeys(ctx context.Context, dgst digest.Digest) []string {
	keys, err := s.cache.GetAllBlobs(ctx, dgst)
	s.cacheHealth.note(err)

	return keys
}

func (s *Store) remember(ctx context.Context, dgst digest.Digest, key string) {
	s.cacheHealth.note(s.cache.PutBlob(ctx, dgst, key))
}

func (s *Store) forget(ctx context.Context, dgst digest.Digest, key string) {
	s.cacheHealth.note(s.cache.DeleteBlob(ctx, dgst, key))
}
