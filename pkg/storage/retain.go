package storage

import (
	"context"
	"time"

	"github.com/opencontainers/go-digest"
)

// retainAtOnce is how many manifests go in one commit. Clients that ask for one of them
// wait for it.
const retainAtOnce = 500

// judgeOf prepares to decide on a repository as things are now.
func (s *Store) judgeOf(ctx context.Context, r *repository) (*judge, error) {
	j := &judge{
		now: s.opts.Now(), delay: s.opts.GC.retentionDelay(), told: s.opts.GC.Delay, policy: r.policy,
		since: func(dgst digest.Digest) time.Time { return s.leases.since(BlobKey(r.name, dgst)) },
	}

	if !r.policy.needsPulls() {
		return j, nil
	}

	var err error
	j.pulls, err = s.pulls.read(ctx, r.name)

	return j, err
}

// retain removes what the policy of r does not keep: tags first, then manifests. Each
// commit looks again whether that holds.
func (s *Store) retain(ctx context.Context, r *repository, done *Collected) error {
	if err := s.pulls.tend(ctx, r); err != nil {
		return err
	}

	j, err := s.judgeOf(ctx, r)
	if err != nil {
		return err
	}

	p := j.decide(r.visible.Load())
	if s.opts.GC.Retention.DryRun {
		s.logPlan(r, p)

		return nil
	}

	if err := s.retainTags(r, p, done); err != nil {
		return err
	}

	if s.remote {
		return s.retainCondemned(r, j, p, done)
	}

	for order := p.order; len(order) > 0 && ctx.Err() == nil; order = order[min(len(order), retainAtOnce):] {
		if err := s.retainManifests(r, p, order[:min(len(order), retainAtOnce)], done); err != nil {
			return err
		}
	}

	return ctx.Err()
}

// logPlan says what would be removed.
func (s *Store) logPlan(r *repository, p plan) {
	for _, v := range p.tags {
		if !v.Keep {
			s.logVerdict(r, v, "retention would remove this")
		}
	}

	for _, dgst := range p.order {
		s.logVerdict(r, p.manifests[dgst], "retention would remove this")
	}
}

func (s *Store) logVerdict(r *repository, v Verdict, what string) {
	event := s.opts.Log.Info().Str("repository", string(r.name))
	if v.Tag != "" {
		event = event.Str("tag", string(v.Tag))
	}

	event.Str("digest", string(v.Digest)).Str("reason", v.Reason).Msg(what)
}

// retainTags removes the tags that go, unless they were set again since.
func (s *Store) retainTags(r *repository, p plan, done *Collected) error {
	var goes []Verdict

	for _, v := range p.tags {
		if !v.Keep {
			goes = append(goes, v)
		}
	}

	removed, err := s.commitVerdicts(r, goes, func(pending *state, v Verdict) (Op, bool) {
		entry, ok := pending.tags.Get(v.Tag)

		return Op{Kind: OpDeleteTag, Tag: v.Tag}, ok && entry.Digest == v.Digest && entry.Time.Equal(v.time)
	})
	done.Tags += removed

	return err
}

// retainManifests removes manifests that nothing holds. Who would lease one waits until
// it is gone; one that is leased, or was pushed or held since, stays.
func (s *Store) retainManifests(r *repository, p plan, order []digest.Digest, done *Collected) error {
	var goes []Verdict

	for _, dgst := range order {
		spare, ok := s.leases.doom(BlobKey(r.name, dgst), s.opts.GC.Delay)
		if !ok {
			continue
		}
		defer spare()

		goes = append(goes, p.manifests[dgst])
	}

	removed, err := s.commitVerdicts(r, goes, func(pending *state, v Verdict) (Op, bool) {
		return Op{Kind: OpDeleteManifest, Digest: v.Digest}, s.isLoose(pending, v)
	})
	done.Manifests += removed

	return err
}

// isLoose says whether nothing holds a manifest still, and whether it has been so for long
// enough.
func (s *Store) isLoose(pending *state, v Verdict) bool {
	record, ok := pending.manifests.Get(v.Digest)
	if !ok || pending.holdsManifest(record) || !record.Pushed.Equal(v.time) {
		return false
	}

	return !s.opts.Now().Before(record.Loose.Add(s.opts.GC.retentionDelay()))
}

// commitVerdicts commits what decide makes of verdicts, each against the state that those
// before it leave, and says how much that was.
func (s *Store) commitVerdicts(
	r *repository, verdicts []Verdict, decide func(pending *state, v Verdict) (op Op, ok bool),
) (int, error) {
	if len(verdicts) == 0 {
		return 0, nil
	}

	var did []Verdict

	err := r.commit(gcUser, func(pending *state) ([]Op, error) {
		var ops []Op

		next := pending.clone()
		did = nil

		for _, v := range verdicts {
			op, ok := decide(next, v)
			if !ok {
				continue
			}

			next.fold(Record{Seq: next.seq, Time: s.opts.Now(), Ops: []Op{op}})

			ops = append(ops, op)
			did = append(did, v)
		}

		return ops, nil
	})
	if err != nil {
		return 0, err
	}

	for _, v := range did {
		s.logVerdict(r, v, "retention has removed this")
	}

	return len(did), nil
}
