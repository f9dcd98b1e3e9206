package storage

import (
	"context"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
)

// judgeOf prepares to decide on a repository as things are now.
func (s *Store) judgeOf(ctx context.Context, r *repository) (*judge, error) {
	gc := s.gc()
	j := &judge{
		gc: gc, now: s.opts.Now(), delay: gc.retentionDelay(), told: gc.Delay, policy: *r.policyBy(gc),
		since: func(dgst digest.Digest) time.Time { return s.leases.since(BlobKey(r.name, dgst)) },
	}

	if !j.policy.needsPulls() {
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
	if j.gc.Retention.DryRun {
		s.logPlan(r, p)

		return nil
	}

	if err := s.inBatches(ctx, j, p.tags, func(batch []Verdict) error { return s.retainTags(r, batch, done) }); err != nil {
		return err
	}

	if s.remote {
		return s.retainCondemned(ctx, r, j, p, done)
	}

	return s.inBatches(ctx, j, p.manifests, func(batch []Verdict) error { return s.retainManifests(r, j, batch, done) })
}

// inBatches calls do with some of the verdicts of j at a time, until it fails, or until other
// policies hold than j has judged by: the next run does what these say.
func (s *Store) inBatches(ctx context.Context, j *judge, verdicts []Verdict, do func(batch []Verdict) error) error {
	for batch := range slices.Chunk(verdicts, s.maxOps()) {
		if err := ctx.Err(); err != nil || s.gc() != j.gc {
			return err
		}

		if err := do(batch); err != nil {
			return err
		}
	}

	return nil
}

// logPlan says what would be removed.
func (s *Store) logPlan(r *repository, p plan) {
	for _, v := range slices.Concat(p.tags, p.manifests) {
		s.logVerdict(r, v, "retention would remove this")
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
func (s *Store) retainTags(r *repository, goes []Verdict, done *Collected) error {
	removed, err := s.commitVerdicts(r, goes, func(pending *state, v Verdict) (Op, bool) {
		entry, ok := pending.tags.Get(v.Tag)

		return Op{Kind: OpDeleteTag, Tag: v.Tag}, ok && entry.Digest == v.Digest && entry.Time.Equal(v.time)
	})
	done.Tags += removed

	return err
}

// retainManifests removes manifests that nothing holds. Who would lease one waits until
// it is gone; one that is leased, or was pushed or held since, stays.
func (s *Store) retainManifests(r *repository, j *judge, goes []Verdict, done *Collected) error {
	var doomed []Verdict

	for _, v := range goes {
		if spare, ok := s.leases.doom(BlobKey(r.name, v.Digest), j.told); ok {
			defer spare()

			doomed = append(doomed, v)
		}
	}

	removed, err := s.commitVerdicts(r, doomed, func(pending *state, v Verdict) (Op, bool) {
		return Op{Kind: OpDeleteManifest, Digest: v.Digest}, s.isLoose(pending, j, v)
	})
	done.Manifests += removed

	return err
}

// isLoose says whether nothing holds a manifest still, and whether it has been so for long
// enough.
func (s *Store) isLoose(pending *state, j *judge, v Verdict) bool {
	record, ok := pending.manifests.Get(v.Digest)
	if !ok || pending.holdsManifest(record) || !record.Pushed.Equal(v.time) {
		return false
	}

	return !s.opts.Now().Before(record.Loose.Add(j.delay))
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
