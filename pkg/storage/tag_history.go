package storage

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/opencontainers/go-digest"
)

// TagAction is what happened to a tag.
type TagAction string

// The actions.
const (
	TagSet     TagAction = "set"
	TagDeleted TagAction = "deleted"
)

// TagEvent is something that happened to a tag.
type TagEvent struct {
	Seq    uint64        `json:"seq,omitempty"` // of the record, unique in the repository; 0 = it is not kept any more
	Tag    Tag           `json:"tag"`
	Action TagAction     `json:"action"`
	Digest digest.Digest `json:"digest,omitempty"` // what the tag points to since
	Before digest.Digest `json:"before,omitempty"` // what it pointed to before; "" = nothing, or nobody knows any more
	Time   time.Time     `json:"time"`
	Who    string        `json:"who,omitempty"` // the user; "" = anonymous
}

// TagHistory implements History.
func (s *Store) TagHistory(ctx context.Context, repo RepoName, tag Tag, before uint64, n int) (events []TagEvent, more bool, err error) {
	err = s.repos.with(ctx, repo, s.repos.now(), func(r *repository) error {
		if !r.visible.Load().exists() {
			return ErrRepoUnknown
		}

		for event, err := range r.tagEvents(ctx, tag) {
			switch {
			case err != nil:
				return err
			case before > 0 && event.Seq >= before:
				continue
			case n >= 0 && len(events) == n:
				more = true

				return nil
			}

			events = append(events, event.TagEvent)
		}

		return nil
	})
	if err == nil && len(events) == 0 && before == 0 && n != 0 {
		err = fmt.Errorf("%w: nothing is known of tag %s", ErrManifestUnknown, tag)
	}

	return events, more, err
}

// knownEvent is a TagEvent of which is known whether there was something before.
type knownEvent struct {
	TagEvent

	known  bool // Before says what was before, also if it is ""
	copied bool // it happened in another store
}

// tagEvents yields what has happened to a tag, the newest first.
func (r *repository) tagEvents(ctx context.Context, tag Tag) iter.Seq2[knownEvent, error] {
	return func(yield func(knownEvent, error) bool) {
		st := r.visible.Load()
		trace := tagTrace{tag: tag, yield: func(event knownEvent) bool { return yield(event, nil) }}
		oldest := st.seq + 1

		for record, err := range r.log.History(ctx, st.seq+1) {
			if err != nil {
				yield(knownEvent{}, fmt.Errorf("history of %s: %w", r.name, err))

				return
			}

			oldest = record.Seq
			if !trace.record(record) {
				return
			}
		}

		trace.end(st, oldest == 1)
	}
}
