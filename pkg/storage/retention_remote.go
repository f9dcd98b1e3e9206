package storage

import (
	"context"

	"github.com/opencontainers/go-digest"
)

// retainCondemned removes manifests of a bucket in two steps: it condemns one, and a later
// run removes it, if nobody has needed it for as long as any replica's answer counts.
func (s *Store) retainCondemned(ctx context.Context, r *repository, j *judge, p plan, done *Collected) error {
	var fresh, due []Verdict

	st := r.visible.Load()
	s.condemnations.observe(r.name, st, j.now)

	known := map[digest.Digest]sighting{}

	for _, v := range p.manifests {
		seen, ok := s.condemnations.of(r, st, v.Digest)
		known[v.Digest] = seen

		switch {
		case !ok:
			fresh = append(fresh, v)
		case !j.now.Before(seen.at.Add(s.opts.GC.Delay + Staleness)):
			due = append(due, v)
		}
	}

	err := inBatches(ctx, fresh, func(batch []Verdict) error { return s.condemnManifests(r, batch) })
	if err != nil {
		return err
	}

	s.condemnations.observe(r.name, r.visible.Load(), s.opts.Now())

	return inBatches(ctx, due, func(batch []Verdict) error {
		removed, err := s.commitVerdicts(r, batch, func(pending *state, v Verdict) (Op, bool) {
			mark, condemned := pending.condemned.Get(v.Digest)

			return Op{Kind: OpDeleteManifest, Digest: v.Digest},
				condemned && mark.Seq == known[v.Digest].seq && s.isLoose(pending, v)
		})
		done.Manifests += removed

		return err
	})
}

// condemnManifests announces that manifests are to go.
func (s *Store) condemnManifests(r *repository, goes []Verdict) error {
	return r.commit(gcUser, func(pending *state) ([]Op, error) {
		var ops []Op

		for _, v := range goes {
			if _, already := pending.condemned.Get(v.Digest); !already && s.isLoose(pending, v) {
				ops = append(ops, Op{Kind: OpCondemn, Digest: v.Digest})
			}
		}

		return ops, nil
	})
}
