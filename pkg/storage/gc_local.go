package storage

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// Remover is a Driver that can take an object away in less time than its bytes take to go.
type Remover interface {
	// Remove makes that nothing is at key. finish frees the bytes; what is not finished is
	// so with the next start.
	Remove(ctx context.Context, key string) (finish func() error, err error)
}

// RemovableLog is a Log that can be removed, when nothing is left in its repository.
type RemovableLog interface {
	// Remove removes the log, the index.json beside it, and the directories that are empty
	// then. It is not used any more. A crash leaves an empty repository, or none.
	//
	// Errors: ErrConflict if there is an index.json that Refresh would tell of.
	Remove(ctx context.Context) error
}

// Dater is a Driver whose objects may bear a time from before they came to where they are: those
// of another program, which has copied files with their times.
type Dater interface {
	// Created is when the object at key came to be; zero where that is not known.
	Created(ctx context.Context, key string) (time.Time, error)
}

// StrayLister is a Driver that finds the repositories to which blobs were sent, but never a
// manifest: they have no log.
type StrayLister interface {
	ListStrays(ctx context.Context) iter.Seq2[LogInfo, error]
}

// collectStrays does what collectRepo does for the repositories that the catalog does not have.
func (s *Store) collectStrays(ctx context.Context, work *strides) (Collected, error) {
	var (
		all    Collected
		failed []error
	)

	lister, ok := s.driver.(StrayLister)
	if !ok {
		return all, nil
	}

	for stray, err := range lister.ListStrays(ctx) {
		if err != nil {
			failed = append(failed, fmt.Errorf("look for repositories without a manifest: %w", err))

			continue
		}

		name, err := ParseRepoName(strings.TrimSuffix(stray.Prefix, "/"))
		if err != nil {
			continue // no client can have made it
		}

		one, err := s.collectStray(ctx, name, work)
		if err != nil {
			failed = append(failed, fmt.Errorf("collect %s: %w", name, err))
		}

		all.add(one)
		work.rest(ctx)
	}

	return all, errors.Join(failed...)
}

func (s *Store) collectStray(ctx context.Context, name RepoName, work *strides) (Collected, error) {
	done := Collected{Repos: 1}

	err := s.repos.background(ctx, name, s.repos.now(), func(r *repository) error {
		if r.visible.Load().exists() {
			return nil // by now
		}

		filling, err := s.isFilling(ctx, r)
		if !filling && err == nil {
			err = s.sweep(ctx, r, &done, work)
		}

		return errors.Join(err, s.dropUploads(ctx, r, &done))
	})
	if err != nil {
		return done, err
	}

	_, err = s.removeEmpty(ctx, name)

	return done, err
}

// isFilling says whether blobs have come to a repository of late. Another program may be copying
// it, whose index.json comes last, however long ago the first blob came.
func (s *Store) isFilling(ctx context.Context, r *repository) (bool, error) {
	for info, err := range s.driver.List(ctx, RepoPrefix(r.name)+"blobs/", "") {
		if err != nil {
			return false, fmt.Errorf("list blobs: %w", err)
		}

		if repo, _, ok := SplitBlobKey(info.Key); !ok || repo != r.name {
			continue
		}

		if young, err := s.isYoung(ctx, info); young || err != nil {
			return young, err
		}
	}

	return false, nil
}

// isYoung says whether an object came to where it is less than gcDelay ago.
func (s *Store) isYoung(ctx context.Context, info Info) (bool, error) {
	since := s.opts.Now().Add(-s.gc().Delay)
	if info.Modified.After(since) {
		return true, nil
	}

	came, err := s.cameAt(ctx, info)

	return came.After(since), err
}

// cameAt is when an object came to where it is, as far as that can be told: its own time may be of
// where it was copied from.
func (s *Store) cameAt(ctx context.Context, info Info) (time.Time, error) {
	dater, ok := s.driver.(Dater)
	if !ok {
		return info.Modified, nil
	}

	created, err := dater.Created(ctx, info.Key)
	if isNotExist(err) || err == nil && created.Before(info.Modified) {
		return info.Modified, nil
	}

	return created, err
}

// sweep removes the blobs of r that nothing needs: neither the state, nor what can be
// brought back, nor a client that was told of them of late. So far as that can be told, it
// leaves alone what another program has just written: it may name it in index.json soon.
func (s *Store) sweep(ctx context.Context, r *repository, done *Collected, work *strides) error {
	if len(r.visible.Load().kept) > 0 {
		s.opts.Log.Warn().Str("repository", string(r.name)).
			Msg("another program's index.json names what zot cannot read: no blob of this repository is collected")

		return nil
	}

	there := map[digest.Digest]bool{} // of those that were hidden

	for info, err := range s.driver.List(ctx, RepoPrefix(r.name)+"blobs/", "") {
		if err != nil {
			return fmt.Errorf("list blobs: %w", err)
		}

		work.rest(ctx)

		repo, dgst, ok := SplitBlobKey(info.Key)
		if !ok || repo != r.name || r.visible.Load().needs(dgst) { // a/blobs may be a repository, too
			continue
		}

		gone, err := s.sweepBlob(ctx, r, dgst, info)
		if err != nil {
			return err
		}

		if gone {
			done.Blobs++
			done.Bytes += info.Size
		} else {
			done.Kept++
			there[dgst] = true
		}
	}

	return s.forgetHidden(ctx, r, there)
}

// needs says whether the state, or what can be brought back, needs the bytes of dgst.
func (s *state) needs(dgst digest.Digest) bool { return s.inUse(dgst) || s.inGrave(dgst) }

// sweepBlob removes one blob that was not needed a moment ago. Only a rename is done while
// clients may wait.
func (s *Store) sweepBlob(ctx context.Context, r *repository, dgst digest.Digest, info Info) (gone bool, err error) {
	if young, err := s.isYoung(ctx, info); young || err != nil {
		return false, err
	}

	finish, gone, err := s.takeAway(ctx, r, dgst, info.Key)
	if !gone || err != nil {
		return false, err
	}

	s.forget(ctx, dgst, info.Key)

	if s.holds(ctx, info.Key, info.Size) { // it was pushed again, and what was forgotten is that
		s.remember(ctx, dgst, info.Key)
	}

	return true, errors.Join(s.durability.healed(ctx, info.Key), finish())
}

// takeAway removes a blob unless it is leased, or needed after all. A commit pins what it
// names until it is visible, so one of the two tells.
func (s *Store) takeAway(
	ctx context.Context, r *repository, dgst digest.Digest, key string,
) (finish func() error, gone bool, err error) {
	spare, ok := s.leases.doom(key, s.gc().Delay)
	if !ok {
		return nil, false, nil
	}
	defer spare()

	if r.isKept() || r.visible.Load().needs(dgst) { // in this order: a copy takes the state that it then needs
		return nil, false, nil
	}

	finish, err = s.remove(ctx, key)

	return finish, true, err
}

// remove makes that nothing is at key. finish frees the bytes, where that takes longer.
func (s *Store) remove(ctx context.Context, key string) (finish func() error, err error) {
	if remover, ok := s.driver.(Remover); ok {
		return remover.Remove(ctx, key)
	}

	return func() error { return nil }, s.driver.Delete(ctx, key)
}

// forgetHidden forgets that blobs were deleted, of which nothing is there any more. That
// they are gone is on disk before the record that says so.
func (s *Store) forgetHidden(ctx context.Context, r *repository, there map[digest.Digest]bool) error {
	type deleted struct {
		digest.Digest

		at time.Time
	}

	var gone []deleted

	st := r.visible.Load()
	for _, dgst := range st.hidden.Keys() {
		_, err := s.driver.Stat(ctx, BlobKey(r.name, dgst))
		if err != nil && !isNotExist(err) {
			return fmt.Errorf("look for a deleted blob: %w", err)
		}

		if err != nil && !there[dgst] {
			at, _ := st.hidden.Get(dgst)
			gone = append(gone, deleted{dgst, at})
		}
	}

	if len(gone) == 0 {
		return nil
	}

	if err := s.durability.flush(ctx); err != nil {
		return err
	}

	for batch := range slices.Chunk(gone, maxOpsHere) {
		err := r.commit(gcUser, func(pending *state) ([]Op, error) {
			var ops []Op

			for _, blob := range batch {
				if at, hidden := pending.hidden.Get(blob.Digest); hidden && at.Equal(blob.at) { // it may have come, and gone, again
					ops = append(ops, Op{Kind: OpShowBlob, Digest: blob.Digest})
				}
			}

			return ops, nil
		})
		if err != nil {
			return err
		}
	}

	return nil
}

// dropMarks forgets that blobs were damaged that nothing needs any more, and of which nothing
// is there: the bytes were put aside, or removed.
func (s *Store) dropMarks(ctx context.Context) error {
	var failed []error

	for key := range s.durability.damaged.Range {
		name, dgst, ok := SplitBlobKey(key.(string)) //nolint:forcetypeassert // we put it
		if !ok {
			continue
		}

		err := s.repos.background(ctx, name, s.repos.now(), func(r *repository) error { return s.dropMark(ctx, r, dgst) })
		if err != nil {
			failed = append(failed, fmt.Errorf("look for the damaged %s@%s: %w", name, dgst, err))
		}
	}

	return errors.Join(failed...)
}

// dropMark forgets a mark, unless somebody counts on the blob, or pushes it.
func (s *Store) dropMark(ctx context.Context, r *repository, dgst digest.Digest) error {
	key := BlobKey(r.name, dgst)

	spare, ok := s.leases.doom(key, s.gc().Delay)
	if !ok {
		return nil
	}
	defer spare()

	if r.isKept() || r.visible.Load().needs(dgst) {
		return nil
	}

	_, err := s.driver.Stat(ctx, key)
	if isNotExist(err) {
		err = s.durability.healed(ctx, key)
	}

	return err
}

// dropUploads drops the uploads that have stood still for long.
func (s *Store) dropUploads(ctx context.Context, r *repository, done *Collected) error {
	idle := max(uploadIdle, s.gc().Delay)
	isOld := func(info Info) bool { return s.opts.Now().Sub(info.Modified) >= idle }

	for info, err := range s.driver.List(ctx, UploadKey(r.name, ""), "") {
		if err != nil {
			return fmt.Errorf("list uploads: %w", err)
		}

		if !isOld(info) {
			continue
		}

		dropped, err := s.sessions.drop(ctx, info.Key, isOld)
		if err != nil {
			return err
		}

		if dropped {
			done.Uploads++
		}
	}

	return nil
}

// removeEmpty removes a repository in which nothing is left, and of which nothing can be
// brought back.
func (s *Store) removeEmpty(ctx context.Context, name RepoName) (gone bool, err error) {
	return s.repos.alone(ctx, name, func(r *repository) (bool, error) {
		st := r.visible.Load()
		log, ok := r.log.(RemovableLog)

		if !ok || st.manifests.Len()+st.burials.Len()+st.hidden.Len()+len(st.kept) > 0 {
			return false, nil
		}

		for _, dir := range []string{RepoPrefix(name) + "blobs/", UploadKey(name, "")} {
			for _, err := range s.driver.List(ctx, dir, "") {
				return false, err // there is something, or it cannot be told
			}
		}

		if err := s.pulls.drop(ctx, r); err != nil {
			return false, err
		}

		err := log.Remove(ctx)
		if errors.Is(err, ErrConflict) {
			return false, nil
		}

		if err != nil {
			return false, err
		}

		return true, s.catalog.remove(ctx, name)
	})
}
