package storage

import (
	"context"
	"time"
)

// whyManifest explains a manifest, by the plan of a run of GC that would begin now.
func (s *Store) whyManifest(ctx context.Context, r *repository, st *state, e *Explanation) error {
	j, err := s.judgeOf(ctx, r)
	if err != nil {
		return err
	}

	e.What = "manifest"
	j.about = e.Digest
	p := j.decide(st)
	v := p.about
	e.Tags = p.aboutTags

	for _, tag := range e.Tags {
		if tag.Keep {
			e.keep(tag.Until, "tag %s points to it: %s", tag.Tag, tag.Reason)
		}
	}

	if held := e.keepHeld(p.after); v.Keep && !held {
		e.keep(v.Until, "%s", v.Reason)
	}

	if !v.Keep {
		e.Then = "it is removed by a run of gc, since " + v.Reason + ", and can be brought back for " +
			spell(s.gc().undelete())
		s.whyNotYet(r, st, j.now, e)
	}

	if s.gc().Retention.DryRun {
		e.keep(time.Time{}, "retention.dryRun is set: retention removes nothing")
	}

	return nil
}

// keepHeld adds what holds the manifest in a state.
func (e *Explanation) keepHeld(after *state) (held bool) {
	record, ok := after.manifests.Get(e.Digest)
	if !ok {
		return false
	}

	for index := range after.namers(e.Digest) {
		e.keep(time.Time{}, "manifest %s names it", index)
	}

	if _, ok := after.manifests.Get(record.Subject); ok {
		e.keep(time.Time{}, "its subject %s is there", record.Subject)
	}

	return after.holdsManifest(record)
}

// whyNotYet adds what a bucket waits for before a manifest or a blob goes.
func (s *Store) whyNotYet(r *repository, st *state, now time.Time, e *Explanation) {
	if !s.remote {
		return
	}

	wait := s.gc().notice()
	seen, ok := s.condemnations.of(r, st, e.Digest)

	switch until := seen.at.Add(wait); {
	case !ok:
		e.keep(now.Add(wait), "a run of gc has to announce first that it goes, for other replicas")
	case now.Before(until):
		e.keep(until, "a run of gc has announced that it goes, and other replicas may need it still")
	}
}
