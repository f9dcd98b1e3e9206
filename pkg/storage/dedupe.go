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
	defer s.pin(r, dgst).end(nil)

	if s.remote { // its conditions settle what comes together
		return s.placeRemote(ctx, r, dgst, up)
	}

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
	if !wasDamaged && s.linkKnown(ctx, dgst, key, size) != "" {
		return errors.Join(s.arrived(ctx, dgst, key, begun), session.up.Abort(ctx))
	}

	if _, err := session.up.Commit(ctx, key); err != nil {
		return fmt.Errorf("commit blob %s: %w", dgst, err)
	}

	return s.arrived(ctx, dgst, key, session.epoch)
}

// placeRemote does so in a bucket. Each announcement is an object of its own, so what is there
// is not announced again.
func (s *Store) placeRemote(ctx context.Context, r *repository, dgst digest.Digest, up *session) error {
	named, err := s.isNamed(ctx, r, dgst, up.up.Size(), up.body)
	if err != nil {
		return err
	}

	if named {
		s.remember(ctx, dgst, BlobKey(r.name, dgst))

		return up.up.Abort(ctx)
	}

	return s.announce(ctx, r, dgst, func() (string, error) { return s.settleRemote(ctx, r, dgst, up) })
}

// settleRemote brings the bytes to their key in a bucket, which finds equal bytes by itself.
// What the cache knows saves sending them there. What is damaged is replaced where it is.
func (s *Store) settleRemote(
	ctx context.Context, r *repository, dgst digest.Digest, session *session,
) (placed string, err error) {
	key := BlobKey(r.name, dgst)
	dst := key

	if s.durability.isDamaged(key) {
		if err := r.look(ctx, s.repos.now()); err != nil { // it may have been deleted there
			return "", err
		}

		_, at, _ := r.visible.Load().lookup(dgst)
		dst = placedKey(r.name, dgst, at)
		s.bodies.forget(dgst)

		if marked, ok, err := s.markedFor(ctx, r, dgst); err != nil {
			return "", err
		} else if ok {
			return s.healMarked(ctx, r, dgst, marked, session)
		}
	} else if session.body == nil { // few bytes are sent sooner than found
		if placed := s.linkKnown(ctx, dgst, key, session.up.Size()); placed != "" {
			return placed, errors.Join(s.arrived(ctx, dgst, key, session.epoch), session.up.Abort(ctx))
		}
	}

	if placed, err = session.up.Commit(ctx, dst); err != nil {
		return "", fmt.Errorf("commit blob %s: %w", dgst, err)
	}

	s.bodies.put(dgst, session.body)

	return placed, s.arrived(ctx, dgst, key, session.epoch)
}

// markedFor finds the marked place that a push to r heals: the one that r has the blob at, or
// if it has none the one that all share.
func (s *Store) markedFor(ctx context.Context, r *repository, dgst digest.Digest) (marked spot, ok bool, err error) {
	st := r.visible.Load()

	_, at, _ := st.lookup(dgst)
	if at == "" {
		info, err := s.find(ctx, r, st, dgst)
		if err != nil && !isNotExist(err) {
			return spot{}, false, blobError(dgst, err)
		}

		at = placeOf(BlobKey(r.name, dgst), info.Key)
	}

	for _, one := range slices.Backward(s.durability.marks.of(r.name, dgst)) {
		if at == one.place || at == "" && one.repo == "" {
			return one, true, nil
		}
	}

	return spot{}, false, nil
}

// healMarked replaces bytes that a check has found damaged, whoever holds them, and then has
// r hold them.
func (s *Store) healMarked(
	ctx context.Context, r *repository, dgst digest.Digest, at spot, session *session,
) (placed string, err error) {
	key := BlobKey(r.name, dgst)

	if placed, err = session.up.Commit(ctx, placedKey(r.name, dgst, at.place)); err != nil {
		return "", fmt.Errorf("commit blob %s: %w", dgst, err)
	}

	if err := s.durability.unmark(ctx, dgst, at); err != nil {
		return "", err
	}

	if at.repo != "" {
		return placed, s.arrived(ctx, dgst, key, session.epoch)
	}

	linked, err := s.driver.Link(ctx, placed, key)
	if err != nil {
		return "", fmt.Errorf("%w: the place of %s is over: %w", ErrUnavailable, dgst, err)
	}

	return linked, s.arrived(ctx, dgst, key, session.epoch)
}

// holds says whether key has size bytes that may be served.
func (s *Store) holds(ctx context.Context, key string, size int64) bool {
	info, err := s.driver.Stat(ctx, key)

	return err == nil && info.Size == size && !s.durability.isDamaged(key)
}

// maxStale is how many wrong answers of the cache one upload puts right.
const maxStale = 8

// linkKnown makes key the same bytes as one that the cache knows, and returns its placed
// key; "" if it cannot. An answer that proves wrong is forgotten.
func (s *Store) linkKnown(ctx context.Context, dgst digest.Digest, key string, size int64) (placed string) {
	if known, ok := s.spare.Load(dgst); ok {
		if placed := s.link(ctx, dgst, known.(string), key, size); placed != "" { //nolint:forcetypeassert // we put it
			return placed
		}
	}

	for range maxStale {
		known, err := s.cache.GetBlob(ctx, dgst)
		if err != nil {
			return ""
		}

		_, of, ok := SplitBlobKey(known)
		if ok && of == dgst && known == key && s.remote {
			return "" // the one that is wanted; Commit finds out
		}

		if ok && of == dgst {
			placed = s.link(ctx, dgst, known, key, size)
		}

		if placed != "" {
			return placed
		}

		s.forget(ctx, dgst, known)
	}

	return ""
}

// link links key to bytes that are there. Where they can take no more links (ext4
// stops at 65,000), the copy that the caller keeps is the one that later uploads link
// to.
func (s *Store) link(ctx context.Context, dgst digest.Digest, known, key string, size int64) (placed string) {
	if known == key || !s.remote && !(s.holds(ctx, known, size) && s.trust(ctx, known, dgst) == nil) {
		return ""
	}

	placed, err := s.linkSized(ctx, known, key, size)
	if errors.Is(err, errors.ErrUnsupported) {
		s.spare.Store(dgst, key)
	}

	if err != nil {
		s.opts.Log.Debug().Err(err).Str("blob", key).Msg("cannot link a blob; keeping a copy")
	}

	if err != nil || s.durability.isDamaged(known) {
		return ""
	}

	return placed
}

// linkSized links key to bytes that are there, in a bucket only if they have the size that they
// should have. Of a directory the caller looks.
func (s *Store) linkSized(ctx context.Context, known, key string, size int64) (placed string, err error) {
	if pool, ok := s.driver.(Pool); ok {
		return pool.LinkSized(ctx, known, key, size)
	}

	return s.driver.Link(ctx, known, key)
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
	source, err := s.statBlob(ctx, from, dgst)
	if err != nil {
		return err
	}

	return s.repos.with(ctx, repo, s.repos.recent(), func(r *repository) error {
		if s.remote {
			return s.mountRemote(ctx, r, dgst, source)
		}

		defer s.pin(r, dgst).end(nil)

		if _, err := s.mountBytes(ctx, dgst, source, BlobKey(repo, dgst)); err != nil {
			return err
		}

		return s.show(ctx, r, dgst, who)
	})
}

func (s *Store) mountRemote(ctx context.Context, r *repository, dgst digest.Digest, source Info) error {
	named, err := s.isNamed(ctx, r, dgst, source.Size, nil)
	if named || err != nil {
		return err
	}

	if s.durability.isDamaged(BlobKey(r.name, dgst)) { // reads go there: a push heals it, a mount does not
		return fmt.Errorf("%w: %s is damaged", ErrBlobUnknown, dgst)
	}

	return s.announce(ctx, r, dgst, func() (string, error) {
		return s.mountBytes(ctx, dgst, source, BlobKey(r.name, dgst))
	})
}

// mountBytes makes key the same bytes as another.
func (s *Store) mountBytes(ctx context.Context, dgst digest.Digest, from Info, key string) (placed string, err error) {
	if !s.remote {
		defer s.placing.lock(dgst)()

		if s.holds(ctx, key, from.Size) && !s.durability.doubts(key) {
			return key, nil
		}
	}

	begun := s.durability.writing(key)
	if placed, err = s.linkSized(ctx, from.Key, key, from.Size); err != nil {
		return "", mountError(dgst, err)
	}

	if s.durability.isDamaged(from.Key) {
		s.durability.markDamaged(ctx, key, "it was mounted from a damaged blob")

		return "", fmt.Errorf("%w: %s", ErrBlobUnknown, dgst)
	}

	return placed, s.arrived(ctx, dgst, key, begun)
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

	found := reposOf(dgst, s.cachedKeys(ctx, dgst, maxFound))
	if finder, ok := s.driver.(Finder); ok && len(found) == 0 {
		keys, err := finder.FindBlob(ctx, dgst, maxFound)
		s.report("look for "+dgst.String(), err)
		found = reposOf(dgst, keys)
	}

	return found
}

// reposOf returns the repositories to which keys of dgst belong.
func reposOf(dgst digest.Digest, keys []string) []RepoName {
	var repos []RepoName

	for _, key := range keys {
		name, of, ok := SplitBlobKey(key)
		if ok && of == dgst && !slices.Contains(repos, name) {
			repos = append(repos, name)
		}
	}

	return repos
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
	case !s.remote && !errors.Is(err, ErrCachePair): // a bucket is asked where the cache misses
		s.owed.add(owedPut{dgst, key})
	}
}

func (s *Store) forget(ctx context.Context, dgst digest.Digest, key string) {
	_ = s.cache.DeleteBlob(ctx, dgst, key) // else it is found wrong once more
}
