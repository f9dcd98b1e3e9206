package storage

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// Explanation says why a repository keeps the bytes of a digest, or when they go.
type Explanation struct {
	Repo    RepoName      `json:"repository"`
	Digest  digest.Digest `json:"digest"`
	What    string        `json:"what"`            // "manifest", "deleted manifest" or "blob"
	Kept    bool          `json:"kept"`            // false: the next run of GC takes it
	Until   time.Time     `json:"until,omitzero"`  // it stays until then at the least; zero = what keeps it has no end, or nothing does
	Reasons []Reason      `json:"reasons"`         // what keeps it, each by itself
	Then    string        `json:"then,omitempty"`  // what becomes of it when nothing keeps it
	Tags    []Verdict     `json:"tags,omitempty"`  // of the tags that point to it
	Grave   *Grave        `json:"grave,omitempty"` // of a deleted manifest
}

// Reason is one thing that keeps something.
type Reason struct {
	Text  string    `json:"text"`
	Until time.Time `json:"until,omitzero"` // zero = as long as it is so
}

// Grave says how a manifest was deleted.
type Grave struct {
	Time time.Time `json:"time"`
	Who  string    `json:"who,omitempty"`
	Tags []Tag     `json:"tags,omitempty"` // that went with it
}

// String says it to people, in several lines without the last newline.
func (e Explanation) String() string {
	var text strings.Builder

	fmt.Fprintf(&text, "%s@%s is a %s", e.Repo, e.Digest, e.What)

	switch {
	case !e.Kept:
		text.WriteString(", and nothing keeps it")
	case e.Until.IsZero():
		text.WriteString(", and is kept")
	default:
		fmt.Fprintf(&text, ", and is kept until %s at the least", stamp(e.Until))
	}

	for _, tag := range e.Tags {
		if !tag.Keep {
			fmt.Fprintf(&text, "\n- tag %s, which points to it, goes: %s", tag.Tag, tag.Reason)
		}
	}

	for _, reason := range e.Reasons {
		text.WriteString("\n- " + reason.String())
	}

	if e.Then != "" {
		text.WriteString("\nThen " + e.Then)
	}

	return text.String()
}

// String says it to people.
func (r Reason) String() string {
	if r.Until.IsZero() {
		return r.Text
	}

	return fmt.Sprintf("%s (until %s)", r.Text, stamp(r.Until))
}

// stamp is a moment as people read it.
func stamp(at time.Time) string { return at.UTC().Format(time.RFC3339) }

// spell is a duration as people write it: "24h", not "24h0m0s".
func spell(d time.Duration) string {
	text := d.String()

	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}

	return text
}

// Why implements Maintenance.
func (s *Store) Why(ctx context.Context, repo RepoName, dgst digest.Digest) (Explanation, error) {
	e := Explanation{Repo: repo, Digest: dgst, Reasons: []Reason{}}

	err := s.repos.with(ctx, repo, s.repos.now(), func(r *repository) error {
		st := r.visible.Load()
		if !st.exists() {
			return ErrRepoUnknown
		}

		if _, ok := st.manifests.Get(dgst); ok {
			return s.whyManifest(ctx, r, st, &e)
		}

		return s.whyBlob(ctx, r, st, &e)
	})

	e.sum()

	if s.gc().Interval == 0 && e.Then != "" {
		e.Then += " (none comes by itself, since gc is off)"
	}

	return e, err
}

// keep adds a reason.
func (e *Explanation) keep(until time.Time, format string, args ...any) {
	e.Reasons = append(e.Reasons, Reason{Text: fmt.Sprintf(format, args...), Until: until})
}

// sum says what all reasons come to.
func (e *Explanation) sum() {
	e.Kept = len(e.Reasons) > 0
	e.Until = time.Time{}

	for _, reason := range e.Reasons {
		if reason.Until.IsZero() {
			e.Until = time.Time{}

			return
		}

		if reason.Until.After(e.Until) {
			e.Until = reason.Until
		}
	}
}
