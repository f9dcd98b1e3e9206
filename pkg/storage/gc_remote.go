package storage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
)

// How GC works in a bucket, in which any number of processes do so at once. Each of these
// may end at any step, and the next run of any process goes on:
//
//  1. Of each repository (collectRepo): what was condemned long ago, and is so still, is
//     swept, by a record (sweepDue). What it needs is noted.
//  2. One listing of all memberships. One whose number is below that of a sweep is removed;
//     what else its repository does not need is condemned, by a record (decide). Of several for
//     what it needs all but one are dropped, by a record (thin).
//  3. Bytes that have no membership any more are freed (Collector).
//  4. What uploads and broken writes have left is removed.

// When a repository's old marks, and memberships of a repository that does not exist, go.
const oldMark = 24 * time.Hour

// maxCandidates is how many memberships are decided on together, by repositories.
const maxCandidates = 10_000

// collectBucket is what a run does after all repositories were looked at, of which needed
// knows what they need.
func (s *Store) collectBucket(ctx context.Context, needed *needs) (Collected, error) {
	collector, ok := s.driver.(Collector)
	if !ok {
		return Collected{}, nil
	}

	needed.seal()

	run := &bucketRun{store: s, collector: collector, needed: needed, surplus: map[string]time.Time{}}
	freed, err := collector.Members(ctx, func(member Member) error { return run.judge(ctx, member) }, needed.hasDigest)
	run.free(freed)
	run.closeGroup()

	err = errors.Join(err, run.decideAll(ctx), run.dropMarks(ctx))
	s.surplus = run.surplus

	uploads, tidied := collector.Tidy(ctx)
	run.done.Uploads += uploads

	return run.done, errors.Join(append(run.failed, err, tidied)...)
}

// collectShared does what can be done in one repository of a bucket by itself.
func (s *Store) collectShared(ctx context.Context, r *repository, done *Collected) error {
	if err := s.sweepDue(r); err != nil {
		return err
	}

	gone, err := s.unlistEmpty(ctx, r)
	if gone {
		done.Emptied++
	}

	return err
}

// claimRun says whether a run may begin by itself, interval after the one before.
func (s *Store) claimRun(ctx context.Context, interval time.Duration) (bool, error) {
	collector, ok := s.driver.(Collector)
	if !ok {
		return true, nil
	}

	return collector.Claim(ctx, interval)
}

// bucketRun is one run of GC in a bucket.
type bucketRun struct {
	store     *Store
	collector Collector
	needed    *needs

	group      []Member // the newest ones that were listed, of one repository and digest
	candidates []Member // not needed, as far as is known, or not alone
	surplus    map[string]time.Time
	done       Collected
	failed     []error
}

func (run *bucketRun) free(freed Freed) {
	run.done.Blobs += freed.Blobs
	run.done.Bytes += freed.Bytes
}

// judge takes one membership of the listing. Those of one repository and digest come together.
func (run *bucketRun) judge(ctx context.Context, member Member) error {
	if n := len(run.group); n > 0 && (run.group[n-1].Repo != member.Repo || run.group[n-1].Digest != member.Digest) {
		run.closeGroup()
	}

	run.group = append(run.group, member)

	if len(run.candidates) < maxCandidates {
		return nil
	}

	return run.decideAll(ctx)
}

// closeGroup keeps those of a group that may go. One that is needed, and alone, may not.
func (run *bucketRun) closeGroup() {
	if n := len(run.group); n > 1 || n == 1 && !run.needed.has(run.group[0].Repo, run.group[0].Digest) {
		run.candidates = append(run.candidates, run.group...)
	}

	run.group = run.group[:0]
}

// decideAll decides on all candidates. A repository that cannot be looked at keeps its own,
// and no other from being looked at.
func (run *bucketRun) decideAll(ctx context.Context) error {
	byRepo := map[RepoName][]Member{}
	for _, member := range run.candidates {
		byRepo[member.Repo] = append(byRepo[member.Repo], member)
	}

	run.candidates = run.candidates[:0]

	for _, name := range slices.Sorted(maps.Keys(byRepo)) {
		err := run.store.repos.with(ctx, name, run.store.repos.recent(), func(r *repository) error {
			return run.decide(ctx, r, byRepo[name])
		})
		if err != nil {
			run.failed = append(run.failed, fmt.Errorf("collect %s: %w", name, err))
		}
	}

	return ctx.Err()
}

// decide removes the memberships of r that do not count, thins out the others, and condemns
// what it does not need.
func (run *bucketRun) decide(ctx context.Context, r *repository, members []Member) error {
	s := run.store

	if err := s.sweepDue(r); err != nil { // a repository that is in no list was not looked at
		return err
	}

	var (
		dead     []Member
		condemns []digest.Digest
		needed   = map[digest.Digest][]Member{}
		st       = r.visible.Load()
	)

	for _, member := range members {
		switch {
		case !st.counted(member.Digest)(member.place(), member.Seq):
			dead = append(dead, member)
		case st.needs(member.Digest):
			needed[member.Digest] = append(needed[member.Digest], member)
		case st.isCondemned(member.Digest), member.Age < s.youth(st):
			run.done.Kept++
		default:
			run.done.Kept++

			condemns = append(condemns, member.Digest)
		}
	}

	if err := s.condemn(r, condemns, func(pending *state, dgst digest.Digest) bool { return !pending.needs(dgst) }); err != nil {
		return err
	}

	return errors.Join(run.remove(ctx, dead), run.thin(ctx, r, needed), s.relist(ctx, r))
}

// youth is up to which age memberships are not worth looking at: a manifest may be about to
// name them, above all the first of its repository.
func (s *Store) youth(st *state) time.Duration {
	if !st.exists() {
		return oldMark
	}

	return s.gc().Delay
}

// condemn commits that all may go, later, of which may still says so.
func (s *Store) condemn(r *repository, dgsts []digest.Digest, may func(pending *state, dgst digest.Digest) bool) error {
	slices.Sort(dgsts)

	for batch := range slices.Chunk(slices.Compact(dgsts), maxOps) {
		err := r.commit(gcUser, func(pending *state) ([]Op, error) {
			var ops []Op

			for _, dgst := range batch {
				if !pending.isCondemned(dgst) && may(pending, dgst) {
					ops = append(ops, Op{Kind: OpCondemn, Digest: dgst})
				}
			}

			return ops, nil
		})
		if err != nil {
			return fmt.Errorf("condemn: %w", err)
		}
	}

	s.condemnations.observe(r.name, r.visible.Load(), s.opts.Now())

	return nil
}

// remove removes memberships that do not count, and then bytes that have no other.
func (run *bucketRun) remove(ctx context.Context, dead []Member) error {
	s := run.store

	err := s.each(len(dead), func(i int) error { return s.driver.Delete(ctx, dead[i].Key) })
	if err != nil {
		return fmt.Errorf("remove memberships: %w", err)
	}

	var shared []digest.Digest

	for _, member := range dead {
		s.forget(ctx, member.Digest, BlobKey(member.Repo, member.Digest))

		switch {
		case member.Size > 0:
			run.free(Freed{Blobs: 1, Bytes: member.Size})
		case !run.needed.hasDigest(member.Digest):
			shared = append(shared, member.Digest)
		}
	}

	slices.Sort(shared)

	return run.freeAll(ctx, slices.Compact(shared))
}

// freeAll frees the bytes of digests that nobody holds.
func (run *bucketRun) freeAll(ctx context.Context, dgsts []digest.Digest) error {
	freed := make([]Freed, len(dgsts))

	err := run.store.each(len(dgsts), func(i int) (err error) {
		freed[i], err = run.collector.Free(ctx, dgsts[i])

		return err
	})

	for _, one := range freed {
		run.free(one)
	}

	if err != nil {
		return fmt.Errorf("free bytes: %w", err)
	}

	return nil
}

// sweepDue sweeps what was condemned by a record that this process has seen long enough
// ago, if it is condemned by that record still and not needed, and drops old marks.
func (s *Store) sweepDue(r *repository) error {
	seen := s.condemnations.observe(r.name, r.visible.Load(), s.opts.Now())

	for more := true; more; {
		err := r.commit(gcUser, func(pending *state) ([]Op, error) {
			ops := s.dueSweeps(pending, seen)
			more = len(ops) == maxOps

			return append(ops, s.oldMarks(pending)...), nil
		})
		if err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
	}

	return nil
}

func (s *Store) dueSweeps(pending *state, seen map[uint64]time.Time) []Op {
	var ops []Op

	pending.condemned.Scan(func(dgst digest.Digest, condemned mark) bool {
		since, known := seen[condemned.Seq]
		if known && s.opts.Now().Sub(since) >= s.gc().notice() && !pending.needs(dgst) {
			ops = append(ops, Op{Kind: OpSweep, Digest: dgst})
		}

		return len(ops) < maxOps
	})

	return ops
}

// oldMarks drops what is remembered of sweeps, and of blobs that clients have deleted, for
// longer than any request may come late.
func (s *Store) oldMarks(pending *state) []Op {
	var (
		ops      []Op
		upTo     uint64
		deadline = s.opts.Now().Add(-oldMark)
	)

	pending.swept.Scan(func(_ digest.Digest, gone swept) bool {
		if gone.Time.Before(deadline) {
			upTo = max(upTo, gone.Seq, gone.Deleted)
		}

		return true
	})

	if upTo > 0 {
		ops = append(ops, Op{Kind: OpForgetSweeps, Seq: upTo})
	}

	pending.hidden.Scan(func(dgst digest.Digest, at time.Time) bool {
		if at.Before(deadline) {
			ops = append(ops, Op{Kind: OpShowBlob, Digest: dgst})
		}

		return len(ops) < maxOps
	})

	return ops
}

// unlistEmpty takes a repository out of the catalog in which nothing is left, and of which
// nothing can be brought back. Its log stays: a head is never deleted.
func (s *Store) unlistEmpty(ctx context.Context, r *repository) (gone bool, err error) {
	if st := r.visible.Load(); !st.exists() || !st.isEmpty() {
		return false, nil
	}

	if err := s.catalog.remove(ctx, r.name); err != nil {
		return false, err
	}

	if err := r.look(ctx, s.opts.Now()); err != nil { // somebody may have put it there again a moment ago
		return false, err
	}

	return r.visible.Load().isEmpty(), s.relist(ctx, r)
}

// relist puts a repository into the catalog that should be there.
func (s *Store) relist(ctx context.Context, r *repository) error {
	if r.visible.Load().isEmpty() || s.catalog.has(r.name) {
		return nil
	}

	return s.catalog.put(ctx, r.name)
}

// isEmpty says whether there is nothing, and nothing to bring back.
func (s *state) isEmpty() bool { return s.manifests.Len()+s.burials.Len() == 0 }
