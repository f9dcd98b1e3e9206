package storage

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/opencontainers/go-digest"
)

// Eraser is a Driver in which repositories share bytes.
type Eraser interface {
	// Erase removes the bytes of a digest that no repository holds. Where one does it
	// changes nothing.
	Erase(ctx context.Context, dgst digest.Digest) error
}

// Purge implements Purger. In each repository one commit takes away all that leads to the
// bytes, then they go. A failure between the two leaves a blob that is hidden; the next try
// goes on with it.
func (s *Store) Purge(ctx context.Context, repo RepoName, dgst digest.Digest, opts PurgeOptions, who string) (Purged, error) {
	done := Purged{
		Manifests: []digest.Digest{}, Tags: []Tag{}, Blobs: []digest.Digest{}, Repos: []RepoName{}, Others: []RepoName{},
	}

	holding, err := s.holding(ctx, dgst)
	if err != nil {
		return done, err
	}

	repos, err := s.purged(ctx, repo, holding, dgst, opts)
	if err != nil {
		return done, err
	}

	if err := s.mayPurge(ctx, repos, dgst, opts); err != nil {
		return done, err
	}

	for _, name := range repos {
		err := errMoved
		for try := 0; errors.Is(err, errMoved) && try < maxLooks; try++ { // pushes go on
			err = s.repos.with(ctx, name, s.repos.now(), func(r *repository) error {
				return s.purge(ctx, r, dgst, opts, who, &done)
			})
		}

		if err != nil {
			return done, fmt.Errorf("purge %s@%s: %w", name, dgst, err)
		}

		done.Repos = append(done.Repos, name)
		holding = without(holding, name)
	}

	done.Others = append(done.Others, holding...)

	return done, errors.Join(s.erase(ctx, done.Blobs), s.purgeQuarantine(ctx, func(name RepoName, of digest.Digest) bool {
		return opts.covers(name, of, done.Repos, dgst) || slices.Contains(done.Repos, name) && slices.Contains(done.Blobs, of)
	}))
}

// purged are the repositories that a purge is of. What it was purged from before, so that others
// were named to the user, need not hold it.
func (s *Store) purged(
	ctx context.Context, repo RepoName, holding []RepoName, dgst digest.Digest, opts PurgeOptions,
) ([]RepoName, error) {
	others := without(holding, repo)
	if !opts.Everywhere || len(others) == 0 {
		return []RepoName{repo}, nil
	}

	there := false
	err := s.repos.with(ctx, repo, s.repos.now(), func(r *repository) (err error) {
		there, err = s.isThere(ctx, r, r.visible.Load(), dgst, PurgeOptions{})

		return err
	})
	if err != nil || !there {
		return others, err
	}

	return append([]RepoName{repo}, others...), nil
}

// covers says whether what was put aside of a repository is what a purge of dgst from repos
// is about. It may have been all that the repository had, and of what repositories share it is
// there but once.
func (o PurgeOptions) covers(name RepoName, of digest.Digest, repos []RepoName, dgst digest.Digest) bool {
	return of == dgst && (o.Everywhere || slices.Contains(repos, name))
}

// quarantined yields those of the blobs that repairs have put aside that are wanted.
func (s *Store) quarantined(ctx context.Context, wanted func(RepoName, digest.Digest) bool) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for info, err := range s.driver.List(ctx, quarantinePrefix, "") {
			name, dgst, ok := splitQuarantineKey(info.Key)
			if err == nil && !(ok && wanted(name, dgst)) {
				continue
			}

			if !yield(info.Key, err) || err != nil {
				return
			}
		}
	}
}

// purgeQuarantine removes what repairs have put aside of blobs.
func (s *Store) purgeQuarantine(ctx context.Context, wanted func(RepoName, digest.Digest) bool) error {
	for key, err := range s.quarantined(ctx, wanted) {
		if err == nil {
			err = s.driver.Delete(ctx, key)
		}

		if err != nil {
			return fmt.Errorf("purge the quarantine: %w", err)
		}
	}

	return s.durability.flush(ctx)
}

func without(names []RepoName, name RepoName) []RepoName {
	return slices.DeleteFunc(slices.Clone(names), func(n RepoName) bool { return n == name })
}

// holding lists the repositories that hold a digest: a bucket is asked; all of a directory is
// looked at, since a cache may not know all, and the catalog has only what was committed to.
func (s *Store) holding(ctx context.Context, dgst digest.Digest) ([]RepoName, error) {
	if finder, ok := s.driver.(Finder); ok {
		keys, err := finder.FindBlob(ctx, dgst, 0)

		return reposOf(dgst, keys), err
	}

	var holding []RepoName

	for info, err := range s.driver.List(ctx, "", "") {
		if err != nil {
			return nil, fmt.Errorf("look for %s: %w", dgst, err)
		}

		if name, of, ok := SplitBlobKey(info.Key); ok && of == dgst {
			holding = append(holding, name)
		}
	}

	return holding, nil
}

// mayPurge says whether a digest can be purged from all the repositories, before it is from
// one. In the first of them it has to be.
func (s *Store) mayPurge(ctx context.Context, repos []RepoName, dgst digest.Digest, opts PurgeOptions) error {
	var held []error

	for i, name := range repos {
		err := s.repos.with(ctx, name, s.repos.now(), func(r *repository) error {
			st := r.visible.Load()

			if i == 0 {
				there, err := s.isThere(ctx, r, st, dgst, opts)
				if err != nil {
					return err
				}

				if !there {
					return fmt.Errorf("%w: %s", ErrBlobUnknown, dgst)
				}
			}

			_, err := planPurge(r.name, st, dgst, opts.Force)

			return err
		})

		if errors.Is(err, ErrInUse) {
			held = append(held, err)
		} else if err != nil {
			return err
		}
	}

	return errors.Join(held...)
}

// isThere says whether anything of a digest is in r: a record, one of what was deleted, or
// bytes.
func (s *Store) isThere(ctx context.Context, r *repository, st *state, dgst digest.Digest, opts PurgeOptions) (bool, error) {
	if st.needs(dgst) {
		return true, nil
	}

	_, err := s.driver.Stat(ctx, BlobKey(r.name, dgst))
	if err == nil || !isNotExist(err) {
		return err == nil, err
	}

	covered := func(name RepoName, of digest.Digest) bool { return opts.covers(name, of, []RepoName{r.name}, dgst) }

	for _, err := range s.quarantined(ctx, covered) {
		return err == nil, err
	}

	return false, nil
}

// purgePlan is what a purge takes from a repository.
type purgePlan struct {
	live   []digest.Digest // manifests to be deleted
	buried []digest.Digest // deleted ones, to be forgotten
	gone   []digest.Digest // whose bytes go, in order
	tags   []Tag
}

// planPurge decides on a purge.
//
// Errors: *HeldError.
func planPurge(repo RepoName, st *state, dgst digest.Digest, force bool) (purgePlan, error) {
	var p purgePlan

	target, live := st.manifests.Get(dgst)
	if live {
		p.live = append(p.live, dgst)
	}

	holders := st.allNamers(dgst)
	if len(holders) > 0 && !force {
		return p, &HeldError{Repo: repo, Digest: dgst, Holders: holders}
	}

	p.live = append(p.live, holders...)

	for _, victim := range p.live {
		p.tags = append(p.tags, st.tagsOf(victim)...)
	}

	if b, ok := st.burials.Get(dgst); ok && !live {
		target = b.Manifest
	}

	for _, victim := range append([]digest.Digest{dgst}, holders...) {
		for b := range st.buriedNamers(victim) {
			if !slices.Contains(p.buried, b.Manifest.Digest) {
				p.buried = append(p.buried, b.Manifest.Digest)
			}
		}
	}

	p.gone = p.unneeded(st, dgst, target)

	return p, nil
}

// allNamers are the manifests that name a digest, and those that name them, and so on.
func (s *state) allNamers(dgst digest.Digest) []digest.Digest {
	var all []digest.Digest

	for next := []digest.Digest{dgst}; len(next) > 0; next = next[1:] {
		for namer := range s.namers(next[0]) {
			if namer != dgst && !slices.Contains(all, namer) {
				all, next = append(all, namer), append(next, namer)
			}
		}
	}

	return all
}

// unneeded are the digests that nothing needs after the purge: what was asked for, the
// manifests that go, and the blobs that only the one asked for names.
func (p purgePlan) unneeded(st *state, dgst digest.Digest, target *ManifestRecord) []digest.Digest {
	after := st.clone()
	after.fold(Record{Seq: st.seq + 1, Ops: p.ops(st, nil)})

	gone := append([]digest.Digest{dgst}, p.live...)
	if target != nil {
		for _, blob := range target.Blobs {
			gone = append(gone, blob.Digest)
		}
	}

	slices.Sort(gone)

	return slices.DeleteFunc(slices.Compact(gone), after.needs)
}

// ops are the operations of the purge: nothing of it can be brought back, and what was about
// to be built on it fails.
func (p purgePlan) ops(st *state, members map[digest.Digest][]string) []Op {
	var ops []Op

	for _, victim := range p.live {
		ops = append(ops, deleteOps(st, victim)...)
		ops = append(ops, Op{Kind: OpForget, Digest: victim})
	}

	for _, victim := range p.buried {
		ops = append(ops, Op{Kind: OpForget, Digest: victim})
	}

	for _, dgst := range p.gone {
		ops = append(ops, Op{Kind: OpHideBlob, Digest: dgst, Members: members[dgst]})
	}

	return ops
}

// purge purges a digest from one repository. Whoever wants to lease what goes waits until it
// is gone, and who has just named it makes the commit look again.
func (s *Store) purge(ctx context.Context, r *repository, dgst digest.Digest, opts PurgeOptions, who string, done *Purged) error {
	plan, err := planPurge(r.name, r.visible.Load(), dgst, opts.Force)
	if err != nil {
		return err
	}

	spare, err := s.doomAll(ctx, r, plan.gone)
	if err != nil {
		return err
	}
	defer spare()

	members := map[digest.Digest][]string{}

	for _, gone := range plan.gone {
		if members[gone], err = s.members(ctx, r, gone); err != nil {
			return err
		}
	}

	if !s.remote && !r.visible.Load().exists() { // bytes were pushed, and nothing was committed
		done.add(plan)

		return s.removePurged(context.WithoutCancel(ctx), r, plan.gone, members)
	}

	err = r.commit(who, func(pending *state) ([]Op, error) {
		now, err := planPurge(r.name, pending, dgst, opts.Force)
		if err == nil && !slices.Equal(now.gone, plan.gone) {
			err = errMoved
		}

		plan = now

		return now.ops(pending, members), err
	})
	if err != nil {
		return err
	}

	done.add(plan)

	return s.removePurged(context.WithoutCancel(ctx), r, plan.gone, members)
}

func (d *Purged) add(plan purgePlan) {
	for _, of := range []struct {
		all *[]digest.Digest
		new []digest.Digest
	}{{&d.Manifests, plan.live}, {&d.Manifests, plan.buried}, {&d.Blobs, plan.gone}} {
		for _, dgst := range of.new {
			if !slices.Contains(*of.all, dgst) {
				*of.all = append(*of.all, dgst)
			}
		}
	}

	d.Tags = append(d.Tags, plan.tags...)
}

// doomAll keeps others from leasing blobs of r. In a bucket the record does so.
func (s *Store) doomAll(ctx context.Context, r *repository, dgsts []digest.Digest) (spare func(), err error) {
	if s.remote {
		return func() {}, nil
	}

	keys := make([]string, len(dgsts))
	for i, dgst := range dgsts {
		keys[i] = BlobKey(r.name, dgst)
	}

	return s.leases.doomAll(ctx, keys)
}

// removePurged removes bytes, and all that is remembered of them.
func (s *Store) removePurged(
	ctx context.Context, r *repository, dgsts []digest.Digest, members map[digest.Digest][]string,
) error {
	var failed []error

	for _, dgst := range dgsts {
		key := BlobKey(r.name, dgst)

		s.bodies.forget(dgst)
		s.forget(ctx, dgst, key)
		s.spare.CompareAndDelete(dgst, key)

		if !s.remote {
			failed = append(failed, s.removeBytes(ctx, key))
		}

		failed = append(failed, s.removeMembers(ctx, r, dgst, members[dgst]))
	}

	return errors.Join(append(failed, s.durability.flush(ctx))...)
}

// removeBytes removes a file, and the mark that it was damaged.
func (s *Store) removeBytes(ctx context.Context, key string) error {
	finish, err := s.remove(ctx, key)
	if err != nil {
		return err
	}

	return errors.Join(finish(), s.durability.healed(ctx, key))
}

// erase removes the bytes that repositories have shared, of which none holds them now.
func (s *Store) erase(ctx context.Context, dgsts []digest.Digest) error {
	eraser, ok := s.driver.(Eraser)
	if !ok {
		return nil
	}

	var failed []error

	for _, dgst := range dgsts {
		if err := eraser.Erase(ctx, dgst); err != nil {
			failed = append(failed, fmt.Errorf("erase %s: %w", dgst, err))
		}

		failed = append(failed, s.durability.unmarkGone(ctx, dgst))
	}

	return errors.Join(failed...)
}
