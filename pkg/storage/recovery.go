package storage

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// errMoved: between looking at a repository and the commit somebody has changed it.
var errMoved = fmt.Errorf("%w: it has changed meanwhile; look, and try again", ErrPrecondition)

// UndoTag implements Recovery.
func (s *Store) UndoTag(ctx context.Context, repo RepoName, tag Tag, who string) (TagEvent, error) {
	var done TagEvent

	err := s.repos.with(ctx, repo, s.repos.now(), func(r *repository) error {
		if !r.visible.Load().exists() {
			return ErrRepoUnknown
		}

		last, err := r.lastChange(ctx, tag)
		if err != nil {
			return err
		}

		done = TagEvent{Tag: tag, Action: TagSet, Digest: last.Before, Before: last.Digest, Who: who}
		if last.Before == "" {
			done.Action = TagDeleted
		}

		return s.setBack(ctx, r, &done)
	})

	return done, err
}

// lastChange is the newest event after which the tag pointed elsewhere than before.
//
// Errors: ErrManifestUnknown if there was none; ErrForgotten if it is not known what was
// before.
func (r *repository) lastChange(ctx context.Context, tag Tag) (knownEvent, error) {
	for event, err := range r.tagEvents(ctx, tag) {
		switch {
		case err != nil:
			return knownEvent{}, err
		case !event.known:
			return knownEvent{}, fmt.Errorf("%w: nobody knows any more what tag %s pointed to before", ErrForgotten, tag)
		case event.Digest != event.Before:
			return event, nil
		}
	}

	return knownEvent{}, fmt.Errorf("%w: nothing is known of tag %s", ErrManifestUnknown, tag)
}

// setBack commits an undo. It completes the event.
func (s *Store) setBack(ctx context.Context, r *repository, done *TagEvent) error {
	var back *revival

	if done.Digest != "" {
		var err error
		if back, err = s.revive(ctx, r, []digest.Digest{done.Digest}); err != nil {
			return err
		}

		defer back.pins.end(nil)
	}

	return r.commit(done.Who, func(pending *state) ([]Op, error) {
		if now, _ := pending.tags.Get(done.Tag); now.Digest != done.Before {
			return nil, errMoved
		}

		done.Seq, done.Time = pending.seq+1, s.opts.Now()

		if back == nil {
			return []Op{{Kind: OpDeleteTag, Tag: done.Tag}}, nil
		}

		ops, err := back.ops(pending)

		return append(ops, Op{Kind: OpSetTag, Tag: done.Tag, Digest: done.Digest}), err
	})
}

// Undelete implements Recovery.
func (s *Store) Undelete(ctx context.Context, repo RepoName, dgst digest.Digest, who string) (Restored, error) {
	var done Restored

	err := s.repos.with(ctx, repo, s.repos.now(), func(r *repository) error {
		if !r.visible.Load().exists() {
			return ErrRepoUnknown
		}

		wanted, err := r.wanted(ctx, dgst)
		if err != nil {
			return err
		}

		back, err := s.revive(ctx, r, wanted)
		if err != nil {
			return err
		}
		defer back.pins.end(nil)

		return r.commit(who, func(pending *state) ([]Op, error) {
			ops, err := back.ops(pending)
			if err != nil {
				return nil, err
			}

			var tags []Op

			done, tags = back.tags(pending)

			return append(ops, tags...), nil
		})
	})

	return done, err
}

// wanted are the manifests to be brought back: one, or for "" those that the last deletion of
// the repository took.
//
// Errors: ErrManifestUnknown, ErrForgotten.
func (r *repository) wanted(ctx context.Context, dgst digest.Digest) ([]digest.Digest, error) {
	st := r.visible.Load()

	if dgst != "" {
		if _, exists := st.manifests.Get(dgst); exists {
			return nil, fmt.Errorf("%w: manifest %s is not deleted", ErrPrecondition, dgst)
		}

		return []digest.Digest{dgst}, nil
	}

	seq, err := r.lastDeletion(ctx)
	if err != nil {
		return nil, err
	}

	var wanted, others []digest.Digest

	st.burials.Scan(func(dgst digest.Digest, b *burial) bool {
		if b.Seq == seq {
			wanted = append(wanted, dgst)
		} else {
			others = append(others, dgst)
		}

		return true
	})

	if len(wanted) > 0 {
		return wanted, nil
	}

	return nil, fmt.Errorf("%w: of a deletion of the whole repository nothing is left to be brought back; %s",
		ErrForgotten, st.revivable(others))
}

// revivable says to people which manifests can be brought back.
func (s *state) revivable(dgsts []digest.Digest) string {
	if len(dgsts) == 0 {
		return "and no manifest can be"
	}

	var text strings.Builder

	text.WriteString("one by one these can be:")

	for _, dgst := range dgsts {
		b, _ := s.burials.Get(dgst)
		fmt.Fprintf(&text, "\n%s, deleted %s", dgst, stamp(b.Time))

		for _, tag := range b.Tags {
			text.WriteString(" " + string(tag))
		}
	}

	return text.String()
}

// lastDeletion is the number of the record that deleted the repository last, of those that
// can be taken back; 0 if there is none.
func (r *repository) lastDeletion(ctx context.Context) (uint64, error) {
	st := r.visible.Load()
	oldest := st.seq + 1

	st.burials.Scan(func(_ digest.Digest, b *burial) bool {
		oldest = min(oldest, b.Seq)

		return true
	})

	for record, err := range r.log.History(ctx, st.seq+1) {
		if err != nil {
			return 0, fmt.Errorf("history of %s: %w", r.name, err)
		}

		if record.Seq < oldest {
			break
		}

		if slices.ContainsFunc(record.Ops, func(op Op) bool { return op.Kind == OpDeleteRepo }) {
			return record.Seq, nil
		}
	}

	return 0, nil
}

// DeleteRepo implements Recovery.
func (s *Store) DeleteRepo(ctx context.Context, repo RepoName, who string) error {
	return s.repos.with(ctx, repo, s.repos.now(), func(r *repository) error {
		return r.commit(who, func(pending *state) ([]Op, error) {
			if pending.manifests.Len() == 0 {
				return nil, ErrRepoUnknown
			}

			return []Op{{Kind: OpDeleteRepo}}, nil
		})
	})
}
