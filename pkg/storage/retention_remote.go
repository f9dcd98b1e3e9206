package storage

import (
	"maps"
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
func (c *condemnations) look(r *repository, st *state, goes []digest.Digest, now time.Time) map[digest.Digest]sighting {
	c.mu.Lock()
	defer c.mu.Unlock()

	before := c.seen[r.name]
	seen := map[digest.Digest]sighting{}

	for _, dgst := range goes {
		mark, ok := st.condemned.Get(dgst)
		if !ok {
			continue
		}

		seen[dgst] = sighting{mark.Seq, now}
		if known := before[dgst]; known.seq == mark.Seq {
			seen[dgst] = known
		}
	}

	c.seen[r.name] = seen
	if len(seen) == 0 {
		delete(c.seen, r.name)
	}

	return maps.Clone(seen)
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
func (s *Store) retainCondemned(r *repository, j *judge, p plan, done *Collected) error {
	var condemn, remove []Verdict

	known := s.condemnations.look(r, r.visible.Load(), p.order, j.now)

	for _, dgst := range p.order {
		switch seen, ok := known[dgst]; {
		case !ok:
			condemn = append(condemn, p.manifests[dgst])
		case !j.now.Before(seen.at.Add(s.opts.GC.Delay + Staleness)):
			remove = append(remove, p.manifests[dgst])
		}
	}

	if err := s.condemn(r, condemn); err != nil {
		return err
	}

	s.condemnations.look(r, r.visible.Load(), p.order, s.opts.Now())

	removed, err := s.commitVerdicts(r, remove, func(pending *state, v Verdict) (Op, bool) {
		mark, ok := pending.condemned.Get(v.Digest)
		ok = ok && mark.Seq == known[v.Digest].seq && s.isLoose(pending, v)

		return Op{Kind: OpDeleteManifest, Digest: v.Digest}, ok
	})
	done.Manifests += removed

	return err
}

// condemn announces that manifests are to go.
func (s *Store) condemn(r *repository, goes []Verdict) error {
	if len(goes) == 0 {
		return nil
	}

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
