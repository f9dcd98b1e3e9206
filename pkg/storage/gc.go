package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
)

// GC says what is removed that nobody needs, and when. docs/gc.md has the whole story.
type GC struct {
	Interval time.Duration // between two runs; 0 = there are none
	Delay    time.Duration // for which what was answered last counts
	Undelete time.Duration // for which what was deleted can be brought back
	History  time.Duration // for which records are kept that checkpoints cover
	Window   Window        // of the day in which a run may begin; zero = any time

	Retention Retention // which tags and manifests go
}

// Window is a part of the day, in UTC, from and to being since midnight. It may go over
// midnight. The zero value is the whole day.
type Window struct{ From, To time.Duration }

// has says whether at is in the window.
func (w Window) has(at time.Time) bool {
	utc := at.UTC()
	since := utc.Sub(utc.Truncate(24 * time.Hour))

	switch {
	case w.From == w.To:
		return true
	case w.From < w.To:
		return w.From <= since && since < w.To
	default:
		return since >= w.From || since < w.To
	}
}

// Collected is what a run of GC has done.
type Collected struct {
	Repos     int   // that were looked at
	Tags      int   // removed by retention
	Manifests int   // removed, and can be brought back for a while
	Forgotten int   // manifests that cannot any more
	Kept      int   // blobs that are not needed, but are too young or leased
	Blobs     int   // freed
	Bytes     int64 // of these
	Uploads   int   // dropped
	Emptied   int   // repositories that are gone
}

func (c *Collected) add(other Collected) {
	c.Repos += other.Repos
	c.Tags += other.Tags
	c.Manifests += other.Manifests
	c.Forgotten += other.Forgotten
	c.Kept += other.Kept
	c.Blobs += other.Blobs
	c.Bytes += other.Bytes
	c.Uploads += other.Uploads
	c.Emptied += other.Emptied
}

// What goes in one commit of GC, of tags, manifests or blobs of a repository. Clients that change
// something in it wait meanwhile: 20 microseconds for each, in memory. In a bucket they wait for
// the requests that append the record, as many for few as for many.
const (
	maxOpsHere = 100
	maxOps     = 500
)

func (s *Store) maxOps() int {
	if s.remote {
		return maxOps
	}

	return maxOpsHere
}

// gcUser is who has done what GC commits. No user has a space in the name.
const gcUser = "zot gc"

// uploadIdle is how long an upload may stand still at the least before it is dropped.
const uploadIdle = time.Hour

// keepCollected collects from time to time. What clients of an earlier process count on is
// not known, so the first run waits for as long as that may be. Of the replicas at a bucket
// one does it.
func (s *Store) keepCollected(ctx context.Context) {
	tick, last := maintainEvery, time.Time{}
	if first := s.gc().Interval; first > 0 {
		tick = min(tick, first)
	}

	every(ctx, tick, func() {
		gc := s.gc()

		next := last.Add(gc.Interval)
		if last.IsZero() {
			next = s.opened.Add(max(gc.Delay, gc.Interval))
		}

		if now := s.opts.Now(); gc.Interval == 0 || now.Before(next) || !gc.Window.has(now) {
			return
		}

		mine, err := s.claimRun(ctx, gc.Interval)
		if mine {
			err = s.collectWhileOn(ctx)
		}

		s.report("collect garbage", err)

		last = s.opts.Now()
	})
}

// collectWhileOn collects, until there are no more runs.
func (s *Store) collectWhileOn(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()

	s.stopRun.Store(&stop)
	defer s.stopRun.Store(nil)

	if s.gc().Interval == 0 { // since a moment ago
		return nil
	}

	_, err := s.Collect(ctx)

	return err
}

// Collect removes what nobody needs, after a run that is under way. A repository that cannot
// be looked at keeps no other from being so.
func (s *Store) Collect(ctx context.Context) (Collected, error) {
	select {
	case s.collecting <- struct{}{}:
	case <-ctx.Done():
		return Collected{}, ctx.Err()
	}
	defer func() { <-s.collecting }()

	begun := s.opts.Now()
	done, err := s.collect(ctx, s.beginWork())

	if !errors.Is(err, ErrTooEarly) {
		s.figures.ran(done, err, s.opts.Now().Sub(begun), s.opts.Now())
	}

	return done, err
}

// beginWork begins background work. In a bucket it waits for a network nearly always, and is
// in nobody's way.
func (s *Store) beginWork() *strides {
	if s.remote {
		return new(pace).begin()
	}

	return s.pace.begin()
}

func (s *Store) collect(ctx context.Context, work *strides) (Collected, error) {
	var (
		all    Collected
		failed []error
		begun  = s.opts.Now()
		logged = begun
		needed *needs // nil in a directory, where each repository is done with by itself
	)

	if s.remote {
		needed = newNeeds()
	}

	if !s.remote && s.opts.Now().Sub(s.opened) < s.gc().Delay {
		return all, fmt.Errorf("%w: what earlier processes have answered counts until %s",
			ErrTooEarly, s.opened.Add(s.gc().Delay).UTC().Format(time.RFC3339))
	}

	for after, more := RepoName(""), true; more && ctx.Err() == nil; {
		var (
			names []RepoName
			err   error
		)

		if names, more, err = s.ListRepos(ctx, after, 1000); err != nil {
			return all, errors.Join(append(failed, err)...)
		}

		for _, name := range names {
			if ctx.Err() != nil {
				break
			}

			after = name

			one, err := s.collectRepo(ctx, name, needed, work)
			if err != nil {
				failed = append(failed, fmt.Errorf("collect %s: %w", name, err))
			}

			all.add(one)
			work.rest(ctx)

			if now := s.opts.Now(); now.Sub(logged) >= progressEvery {
				logged = now
				s.opts.Log.Info().Int("repositories", all.Repos).Int("blobs", all.Blobs).Str("at", string(name)).
					Msg("collecting garbage")
			}
		}
	}

	one, err := s.collectRest(ctx, needed, work)
	all.add(one)

	failed = append(failed, err)

	s.opts.Log.Info().Int("repositories", all.Repos).Int("tags", all.Tags).Int("manifests", all.Manifests).
		Int("forgotten", all.Forgotten).Int("kept", all.Kept).Int("blobs", all.Blobs).Int64("bytes", all.Bytes).
		Int("uploads", all.Uploads).Int("emptied", all.Emptied).Dur("took", s.opts.Now().Sub(begun)).
		Msg("collected garbage")

	return all, errors.Join(append(failed, ctx.Err())...)
}

// collectRest does what is left when all repositories were looked at, which need needed.
func (s *Store) collectRest(ctx context.Context, needed *needs, work *strides) (Collected, error) {
	if s.remote {
		return s.collectBucket(ctx, needed)
	}

	done, err := s.collectStrays(ctx, work)

	return done, errors.Join(err, s.dropMarks(ctx))
}

// collectRepo does what can be done in one repository by itself. In a bucket it notes what
// that needs.
func (s *Store) collectRepo(ctx context.Context, name RepoName, needed *needs, work *strides) (Collected, error) {
	done, known := Collected{Repos: 1}, true

	err := s.repos.background(ctx, name, s.repos.now(), func(r *repository) error {
		if !s.remote && !r.visible.Load().exists() {
			known = false // an index.json that cannot be read may name what is there

			return nil
		}

		if !s.remote && r.isKept() { // it is being copied; the next run comes to it
			return nil
		}

		if err := s.retain(ctx, r, &done); err != nil {
			return err
		}

		if err := s.forgetOld(r, &done); err != nil {
			return err
		}

		if err := r.log.DropHistory(ctx, s.opts.Now().Add(-s.gc().History)); err != nil {
			return err
		}

		if s.remote {
			needed.add(name, r.visible.Load())

			return s.collectShared(ctx, r, &done)
		}

		if err := s.sweep(ctx, r, &done, work); err != nil {
			return err
		}

		return s.dropUploads(ctx, r, &done)
	})
	if err != nil || s.remote || !known {
		return done, err
	}

	gone, err := s.removeEmpty(ctx, name)
	if gone {
		done.Emptied++
	}

	return done, err
}

// undelete is for how long a deleted manifest keeps its bytes: what was held by it had no
// other lease.
func (gc GC) undelete() time.Duration { return max(gc.Undelete, gc.Delay) }

// notice is for how long what goes from a bucket is announced before: an answer may count that
// rests on a state from before the announcement.
func (gc GC) notice() time.Duration { return gc.Delay + Staleness }

// forgetOld forgets the manifests that were deleted long ago.
func (s *Store) forgetOld(r *repository, done *Collected) error {
	deadline := s.opts.Now().Add(-s.gc().undelete())

	isOld := func(b *burial) bool { return b != nil && !b.Time.After(deadline) }

	var old []digest.Digest

	r.visible.Load().burials.Scan(func(dgst digest.Digest, b *burial) bool {
		if isOld(b) {
			old = append(old, dgst)
		}

		return true
	})

	for batch := range slices.Chunk(old, s.maxOps()) {
		forgotten := 0

		err := r.commit(gcUser, func(pending *state) ([]Op, error) {
			var ops []Op

			for _, dgst := range batch {
				if b, _ := pending.burials.Get(dgst); isOld(b) {
					ops = append(ops, Op{Kind: OpForget, Digest: dgst})
				}
			}

			forgotten = len(ops)

			return ops, nil
		})
		if err != nil {
			return err
		}

		done.Forgotten += forgotten
	}

	return nil
}

// holds says whether something in the state holds dgst, so that GC leaves it alone.
func (s *state) holds(dgst digest.Digest) bool {
	if record, ok := s.manifests.Get(dgst); ok {
		return s.holdsManifest(record)
	}

	_, named := s.refs.Get(dgst)

	return named
}

// holdsManifest says whether a tag, an index or a subject holds a manifest.
func (s *state) holdsManifest(record *ManifestRecord) bool {
	if s.isTagged(record.Digest) || s.inIndex(record.Digest) {
		return true
	}

	_, hasSubject := s.manifests.Get(record.Subject)

	return hasSubject
}
