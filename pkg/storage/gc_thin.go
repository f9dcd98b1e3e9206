package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
)

// Each push of a blob that no manifest names writes a membership, so a repository of a bucket
// may hold a blob by several. Once a manifest names it, one is enough (state.surplus). The others
// go by a record that names them: commits under way that rest on one of them look again, as
// after a deletion. It is written when they have been surplus for as long as an answer counts:
// until then somebody may read by a state that has the blob there. And the one that stays is read
// before: if it is wrong, the others are all that is left of the blob.

// maxSurplus is of how many memberships a process remembers since when they are surplus. Others have
// their turn when those are gone.
const maxSurplus = 100_000

// thin drops what is surplus of the memberships of r that were listed of what it needs.
func (run *bucketRun) thin(ctx context.Context, r *repository, listed map[digest.Digest][]Member) error {
	seen := map[digest.Digest]uint64{} // the number of the state by which it was listed
	for dgst := range listed {
		seen[dgst] = run.needed.looked[r.name]
	}

	due, err := run.store.dispensable(ctx, r, listed, run.dueSurplus(r.visible.Load(), listed))
	if err != nil {
		return err
	}

	for batch := range slices.Chunk(due, maxOps) {
		var (
			ops     []Op
			dropped []Member
			seq     uint64
		)

		err := r.commit(gcUser, func(pending *state) ([]Op, error) {
			ops, dropped = dropSurplus(pending, listed, seen, batch)
			seq = pending.seq + 1

			return ops, nil
		})
		if err != nil {
			return fmt.Errorf("drop surplus memberships: %w", err)
		}

		for _, op := range ops { // the next batch knows of this one
			seen[op.Digest] = seq
		}

		if err := run.drop(ctx, dropped); err != nil {
			return err
		}
	}

	return nil
}

// dropSurplus drops those of due that are surplus in the pending state still. Of a digest of which
// somebody has dropped memberships since they were listed, it is not known what is there.
func dropSurplus(
	pending *state, listed map[digest.Digest][]Member, seen map[digest.Digest]uint64, due []Member,
) (ops []Op, dropped []Member) {
	isDue := map[string]bool{}
	dgsts := map[digest.Digest]bool{}

	for _, member := range due {
		isDue[member.Key], dgsts[member.Digest] = true, true
	}

	for _, dgst := range slices.Sorted(maps.Keys(dgsts)) {
		if pending.sweptSince(dgst, seen[dgst]) {
			continue
		}

		op := Op{Kind: OpDropMembers, Digest: dgst}

		for _, member := range pending.surplus(dgst, listed[dgst]) {
			if isDue[member.Key] {
				op.Members = append(op.Members, member.place())
				dropped = append(dropped, member)
			}
		}

		if len(op.Members) > 0 {
			ops = append(ops, op)
		}
	}

	return ops, dropped
}

// dueSurplus notes which memberships are surplus, and returns those that have been so for long
// enough, by digests.
func (run *bucketRun) dueSurplus(st *state, listed map[digest.Digest][]Member) []Member {
	var (
		due []Member
		now = run.store.opts.Now()
	)

	for dgst, members := range listed {
		for _, member := range st.surplus(dgst, members) {
			since, known := run.store.surplus[member.Key]
			if !known {
				since = now
			}

			if now.Sub(since) >= run.store.gc().notice() {
				due = append(due, member)
			} else if len(run.surplus) < maxSurplus {
				run.surplus[member.Key] = since
			}
		}
	}

	slices.SortFunc(due, func(a, b Member) int { return cmp.Or(cmp.Compare(a.Digest, b.Digest), cmp.Compare(a.Key, b.Key)) })

	return due
}

// dispensable returns those of due without which the bytes are there all the same, as a read of
// what stays tells. Bytes that are wrong are marked for all replicas, so that a push heals them.
func (s *Store) dispensable(
	ctx context.Context, r *repository, listed map[digest.Digest][]Member, due []Member,
) ([]Member, error) {
	var owned []digest.Digest // the bytes of which would go with a membership

	for _, member := range due {
		if member.Own {
			owned = append(owned, member.Digest)
		}
	}

	owned = slices.Compact(owned)
	wrong := make([]bool, len(owned))

	err := s.each(len(owned), func(i int) error {
		places := r.visible.Load().placesOf(owned[i])

		for _, member := range listed[owned[i]] {
			if !slices.Contains(places, member.place()) {
				continue
			}

			right, err := s.isRight(ctx, member)
			if isNotExist(err) { // reads find another
				wrong[i] = true

				return nil
			}

			if right || err != nil {
				return err
			}

			wrong[i] = true

			return s.durability.mark(ctx, member.Digest, spot{member.Repo, member.place()})
		}

		return nil
	})

	return slices.DeleteFunc(due, func(m Member) bool {
		i, found := slices.BinarySearch(owned, m.Digest)

		return found && wrong[i]
	}), err
}

// isRight reads the bytes that are in a membership.
//
// Errors: fs.ErrNotExist.
func (s *Store) isRight(ctx context.Context, m Member) (right bool, err error) {
	if _, err := s.driver.Stat(ctx, m.Key); err != nil { // to open alone may find the blob elsewhere
		return false, fmt.Errorf("look for %s: %w", m.Key, err)
	}

	object, err := s.driver.Open(ctx, m.Key, Whole)
	if err != nil {
		return false, fmt.Errorf("open %s: %w", m.Key, err)
	}
	defer func() { err = errors.Join(err, object.Close()) }()

	got, err := m.Digest.Algorithm().FromReader(object.Body)

	return got == m.Digest, err
}

// drop removes memberships that were dropped.
func (run *bucketRun) drop(ctx context.Context, dropped []Member) error {
	err := run.store.each(len(dropped), func(i int) error { return run.store.driver.Delete(ctx, dropped[i].Key) })
	if err != nil {
		return fmt.Errorf("remove surplus memberships: %w", err)
	}

	for _, member := range dropped {
		if member.Own {
			run.free(Freed{Blobs: 1, Bytes: member.Size})
		}
	}

	return nil
}
