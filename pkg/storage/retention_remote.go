package storage

import (
	"context"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// condemnations remembers since when this process knows that manifests are condemned. Other
// replicas answer from what they have seen a moment ago, so a deleter waits by its own
// clock (docs/s3-format.md, "Deleting").
type condemnations struct {
	mu   sync.Mutex // guards seen
	seen map[RepoName]map[digest.Digest]sighting
}

// sighting is of a condemn record.
type sighting struct {
	seq uint64    // of the record
	at  time.Time // when this process saw it first
}

func newCondemnations() *condemnations {
	return &condemnations{seen: map[RepoName]map[digest.Digest]sighting{}}
}

// look notes which of the manifests that are to go are condemned, and returns since when
// each is known to be. What is not condemned any more is forgotten.
func (c *condemnations) look(r *repository, p plan, now time.Time) map[digest.Digest]sighting {
	c.mu.Lock()
	defer c.mu.Unlock()

	st := r.visible.Load()
	before := c.seen[r.name]
	seen := map[digest.Digest]sighting{}

	for _, v := range p.manifests {
		mark, ok := st.condemned.Get(v.Digest)
		if !ok {
			continue
		}

		seen[v.Digest] = sighting{mark.Seq, now}
		if known := before[v.Digest]; known.seq == mark.Seq {
			seen[v.Digest] = known
		}
	}

	c.seen[r.name] = seen
	if len(seen) == 0 {
		delete(c.seen, r.name)
	}

	return seen
}

// of returns since when a manifest is known to be condemned as it is in a state.
func (c *condemnations) of(r *repository, st *state, dgst digest.Digest) (sighting, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()

	mark, condemned := st.condemned.Get(dgst)
	seen, ok := c.seen[r.name][dgst]

	return seen, ok && condemned && seen.seq == mark.Seq
}

// retainCondemned removes manifests of a bucket in two steps: it condemns one, and a later
// run removes it, if nobody has needed it for as long as any replica's answer counts.
func (s *Store) retainCondemned(ctx context.Context, r *repository, j *judge, p plan, done *Collected) error {
	var fresh, due []Verdict

	known := s.condemnations.look(r, p, j.now)

	for _, v := range p.manifests {
		switch seen, ok := known[v.Digest]; {
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

	s.condemnations.look(r, p, s.opts.Now())

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
