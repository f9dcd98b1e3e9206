package storage

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/opencontainers/go-digest"
)

// minute is a time in minutes since 1970, rounded up: what counts for a while must not end
// too early.
type minute int64

func minuteOf(at time.Time) minute { return minute((at.Unix() + 59) / 60) }

func (m minute) time() time.Time { return time.Unix(int64(m)*60, 0) }

// pullsFormat is the version of the JSON form.
const pullsFormat = 1

// pullTimes is when the manifests of a repository were pulled last, as far as is known.
type pullTimes struct {
	Format int                      `json:"format"`
	Began  minute                   `json:"began"`         // since when pulls are noted
	All    minute                   `json:"all,omitempty"` // until then any may have been pulled
	Pulled map[digest.Digest]minute `json:"pulled"`
}

func newPullTimes(began minute) pullTimes {
	return pullTimes{Format: pullsFormat, Began: began, Pulled: map[digest.Digest]minute{}}
}

// of returns when a manifest was pulled last. What is not known counts as pulled when it
// became possible to know, or when it was pushed.
func (p pullTimes) of(dgst digest.Digest, pushed time.Time) time.Time {
	last, ok := p.Pulled[dgst]
	if !ok {
		last = p.Began
	}

	at := max(last, p.All).time()
	if !ok && pushed.After(at) {
		return pushed
	}

	return at
}

// merge returns what two processes know together.
func (p pullTimes) merge(other pullTimes) pullTimes {
	both := pullTimes{
		Format: pullsFormat, Began: min(p.Began, other.Began), All: max(p.All, other.All), Pulled: maps.Clone(p.Pulled),
	}

	for dgst, at := range other.Pulled {
		both.Pulled[dgst] = max(at, both.Pulled[dgst])
	}

	return both
}

// prune drops the times of manifests that are not there, and cannot be brought back.
func (p pullTimes) prune(st *state) pullTimes {
	p.Pulled = maps.Clone(p.Pulled)

	maps.DeleteFunc(p.Pulled, func(dgst digest.Digest, _ minute) bool {
		_, there := st.manifests.Get(dgst)
		_, buried := st.burials.Get(dgst)

		return !there && !buried
	})

	return p
}

func (p pullTimes) equal(other pullTimes) bool {
	return p.Format == other.Format && p.Began == other.Began && p.All == other.All && maps.Equal(p.Pulled, other.Pulled)
}

// decodePullTimes reads the JSON form.
//
// Errors: ErrDamaged; ErrFormat.
func decodePullTimes(data []byte) (pullTimes, error) {
	var p pullTimes
	if err := json.Unmarshal(data, &p); err != nil {
		return pullTimes{}, fmt.Errorf("%w: pull times: %w", ErrDamaged, err)
	}

	switch {
	case p.Format > pullsFormat:
		return pullTimes{}, fmt.Errorf("%w: pull times of version %d", ErrFormat, p.Format)
	case p.Format != pullsFormat || p.Began <= 0 || p.Pulled == nil:
		return pullTimes{}, fmt.Errorf("%w: pull times lack a field", ErrDamaged)
	}

	return p, nil
}
