package storage

import (
	"context"

	"github.com/opencontainers/go-digest"
)

// retainCondemned removes manifests of a bucket in two steps: it condemns one, and a later
// run removes it, if nobody has needed it for as long as any replica's answer counts.
func (s *Store) retainCondemned(ctx context.Context, r *repository, j *judge, p plan, done *Collected) error {
	var (
		fresh []digest.Digest
		due   []Verdict
	)

	st := r.visible.Load()
	s.condemnations.observe(r.name, st, j.now)

	known := map[digest.Digest]sighting{}
	verdicts := map[digest.Digest]Verdict{}

	for _, v := range p.manifests {
		seen, ok := s.condemnations.of(r, st, v.Digest)
		known[v.Digest], verdicts[v.Digest] = seen, v

		switch {
		case !ok:
			fresh = append(fresh, v.Digest)
		case !j.now.Before(seen.at.Add(j.gc.notice())):
			due = append(due, v)
		}
	}

	err := s.condemn(r, fresh, func(pending *state, dgst digest.Digest) bool { return s.isLoose(pending, j, verdicts[dgst]) })
	if err != nil {
		return err
	}

	return s.inBatches(ctx, j, due, func(batch []Verdict) error {
		removed, err := s.commitVerdicts(r, batch, func(pending *state, v Verdict) (Op, bool) {
			mark, condemned := pending.condemned.Get(v.Digest)

			return Op{Kind: OpDeleteManifest, Digest: v.Digest},
				condemned && mark.Seq == known[v.Digest].seq && s.isLoose(pending, j, v)
		})
		done.Manifests += removed

		return err
	})
}
