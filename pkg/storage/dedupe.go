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
func (s *Store) place(ctx context.Context, r *repository, dgst digest.Digest, up *session, who string) error {
	unlock := s.placing.lock(dgst)
	err := s.settleBytes(ctx, r, dgst, up)

	unlock()

	if err != nil {
		return err
	}

	return s.show(ctx, r, dgst, who)
}

// settleBytes brings the bytes to their key: from where they are already, or from
// the upload. What is there already is read once more, so that a push heals a flipped
// byte; clients look before they push, so that is rare.
func (s *Store) settleBytes(ctx context.Context, r *repository, dgst digest.Digest, session *session) error {
	key, size := BlobKey(r.name, dgst), session.up.Size()

	if s.holds(ctx, key, size) && s.verify(ctx, r, dgst) == nil {
		s.remember(ctx, dgst, key)

		return session.up.Abort(ctx)
	}

	// What was damaged here may be so under its other names, which are the same bytes.
	wasDamaged := s.durability.isDamaged(key)
	if wasDamaged {
		s.spare.Store(dgst, key)
	}

	begun := s.durability.writing(key)
	if !wasDamaged && s.linkKnown(ctx, dgst, key, size) {
		return errors.Join(s.arrived(ctx, dgst, key, begun), session.up.Abort(ctx))
	}

	if err := session.up.Commit(ctx, key); err != nil {
		return fmt.Errorf("commit blob %s: %w", dgst, err)
	}

	return s.arrived(ctx, dgst, key, session.epoch)
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
	if known, ok := s.spare.Load(dgst); ok && s.link(ctx, dgst, known.(string), key, size) { //nolint:forcetypeassert // we put it
		return true
	}

	for range maxStale {
		known, err := s.cache.GetBlob(ctx, dgst)
		if err != nil {
			return false
		}

		if _, of, ok := splitBlobKey(known); ok && of == dgst && known != key && s.holds(ctx, known, size) {
			return s.link(ctx, dgst, known, key, size)
		}

		s.forget(ctx, dgst, known)
	}

	return false
}

// link links key to bytes that are there. Where they can take no more links (ext4
// stops at 65,000), the copy that the caller keeps is the one that later uploads link
// to.
func (s *Store) link(ctx context.Context, dgst digest.Digest, known, key string, size int64) bool {
	if known == key || !s.holds(ctx, known, size) {
		return false
	}

	err := s.driver.Link(ctx, known, key)
	if errors.Is(err, errors.ErrUnsupported) {
		s.spare.Store(dgst, key)
	}

	if err != nil {
		s.opts.Log.Debug().Err(err).Str("blob", key).Msg("cannot link a blob; keeping a copy")
	}

	return err == nil && !s.durability.isDamaged(known)
}

// arrived notes that key has new bytes, written since the epoch begun.
func (s *Store) arrived(ctx context.Context, dgst digest.Digest, key string, begun epoch) error {
	if err := s.durability.wrote(ctx, key, begun); err != nil {
		return err
	}

	s.remember(ctx, dgst, key)

	return nil
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
		if err := s.mountBytes(ctx, dgst, BlobKey(from, dgst), BlobKey(repo, dgst), size); err != nil {
			return err
		}

		return s.show(ctx, r, dgst, who)
	})
}

// mountBytes makes key the same bytes as another.
func (s *Store) mountBytes(ctx context.Context, dgst digest.Digest, from, key string, size int64) error {
	defer s.placing.lock(dgst)()

	if s.holds(ctx, key, size) {
		return nil
	}

	begun := s.durability.writing(key)
	if err := s.driver.Link(ctx, from, key); err != nil {
		return mountError(dgst, err)
	}

	if s.durability.isDamaged(from) {
		s.durability.markDamaged(ctx, key, "it was mounted from a damaged blob")

		return fmt.Errorf("%w: %s", ErrBlobUnknown, dgst)
	}

	return s.arrived(ctx, dgst, key, begun)
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

	for _, key := range s.cachedKeys(ctx, dgst, maxFound) {
		name, of, ok := splitBlobKey(key)
		if len(found) < maxFound && ok && of == dgst && !slices.Contains(found, name) {
			found = append(found, name)
		}
	}

	return found
}

// The cache is a hint: what it cannot answer is a miss, and what it cannot take in is
// not remembered now. What it says of that is in the log, once.

func (s *Store) cachedKeys(ctx context.Context, dgst digest.Digest, limit int) []string {
	keys, err := s.cache.GetAllBlobs(ctx, dgst, limit)
	if err != nil {
		return nil
	}

	return keys
}

func (s *Store) remember(ctx context.Context, dgst digest.Digest, key string) {
	switch err := s.cache.PutBlob(ctx, dgst, key); {
	case err == nil:
		s.cachePuts.Add(1)
	case !errors.Is(err, ErrCachePair):
		s.owed.add(owedPut{dgst, key})
	}
}

func (s *Store) forget(ctx context.Context, dgst digest.Digest, key string) {
	_ = s.cache.DeleteBlob(ctx, dgst, key) // else it is found wrong once more
}
