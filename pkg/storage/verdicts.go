package storage

import (
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// Verdict says what GC does with a tag or a manifest, and why.
type Verdict struct {
	Tag    Tag           `json:"tag,omitempty"` // "" = the manifest itself
	Digest digest.Digest `json:"digest"`
	Keep   bool          `json:"keep"`
	Reason string        `json:"reason"`
	Until  time.Time     `json:"until,omitzero"` // it is kept until then at the least; zero = as long as it is so

	time time.Time // when that was pushed
}

// judge decides what GC keeps in a repository. It changes nothing.
type judge struct {
	gc     *GC // that it judges by
	now    time.Time
	delay  time.Duration // that what was pushed or let go of stays
	told   time.Duration // that what a client was told of stays
	policy Policy
	pulls  pullTimes
	since  func(digest.Digest) time.Time // when a client was told of a manifest last; zero = not of late
	about  digest.Digest                 // say why this is kept, too; "" = only what goes matters
}

// plan is what GC does with a repository.
type plan struct {
	tags      []Verdict // that go
	manifests []Verdict // that go, each before what it has held
	after     *state    // what is left

	about     Verdict   // on the manifest that the judge was asked about
	aboutTags []Verdict // on the tags that point to it
}

// decide judges the tags, and then the manifests as they are without those that go.
func (j *judge) decide(st *state) plan {
	p := plan{after: st.clone()}

	var ops []Op

	j.judgeTags(st, func(v Verdict) {
		if !v.Keep {
			p.tags = append(p.tags, v)
			ops = append(ops, Op{Kind: OpDeleteTag, Tag: v.Tag})
		}

		if v.Digest == j.about {
			p.aboutTags = append(p.aboutTags, v)
		}
	})

	for first := true; first || len(ops) > 0; first = false {
		p.after.fold(Record{Seq: p.after.seq, Time: j.now, Ops: ops})
		ops = nil

		j.judgeManifests(p.after, func(v Verdict) {
			if !v.Keep {
				p.manifests = append(p.manifests, v)
				ops = append(ops, Op{Kind: OpDeleteManifest, Digest: v.Digest})
			}

			if v.Digest == j.about {
				p.about = v
			}
		})
	}

	return p
}

// verdict is that something is kept for a reason, or that it goes.
func (c candidate) verdict(kept Reason, goes string) Verdict {
	v := Verdict{Tag: c.tag, Digest: c.digest, Keep: kept.Text != "", Reason: kept.Text, Until: kept.Until, time: c.pushed}
	if !v.Keep {
		v.Reason = goes
	}

	return v
}

func (j *judge) judgeTags(st *state, yield func(Verdict)) {
	var all []*candidate

	st.tags.Scan(func(tag Tag, entry tagEntry) bool {
		c := candidate{tag: tag, digest: entry.Digest, pushed: entry.Time, pulled: j.pulls.of(entry.Digest, entry.Time)}

		if subject := subjectOf(tag); subject != "" {
			yield(j.judgeReferrerTag(st, c, subject))
		} else if len(j.policy.KeepTags) == 0 {
			yield(c.verdict(Reason{Text: "no policy removes tags here"}, ""))
		} else {
			all = append(all, &c)
		}

		return true
	})

	for _, rule := range j.policy.KeepTags {
		rule.apply(slices.DeleteFunc(slices.Clone(all), func(c *candidate) bool { return !rule.matches(c.tag) }), j.now)
	}

	for _, c := range all {
		yield(c.verdict(longer(c.kept, j.young("it was pushed", c.pushed)), "no rule of keepTags keeps it"))
	}
}

// young is the reason that something has happened less than the delay ago.
func (j *judge) young(what string, at time.Time) Reason {
	until := at.Add(j.delay)
	if !j.now.Before(until) {
		return Reason{}
	}

	return Reason{Text: what + " at " + stamp(at), Until: until}
}

// judgeReferrerTag judges a tag that takes the place of a subject. No rule of keepTags is
// about it: who keeps an image keeps its signatures.
func (j *judge) judgeReferrerTag(st *state, c candidate, subject digest.Digest) Verdict {
	if _, ok := st.manifests.Get(subject); ok {
		return c.verdict(Reason{Text: "manifest " + string(subject) + ", which its name is about, is there"}, "")
	}

	if !j.policy.DeleteReferrers {
		return c.verdict(Reason{Text: "what its name is about is not there, but deleteReferrers is not set"}, "")
	}

	kept := j.young("it was pushed", c.pushed)
	if b, ok := st.burials.Get(subject); ok {
		kept = longer(kept, j.young("what its name is about was deleted", b.Time))
	}

	return c.verdict(kept, "what its name is about is not there")
}

// subjectOf returns the manifest that a tag is about, by its name: "sha256-<hex>", the
// fallback of the distribution-spec ("Referrers Tag Schema"), or the same with a dot and a
// word behind it, as cosign names signatures. Else it is "".
func subjectOf(tag Tag) digest.Digest {
	alg, rest, ok := strings.Cut(string(tag), "-")
	if !ok {
		return ""
	}

	hex, _, _ := strings.Cut(rest, ".")

	dgst, err := ParseDigest(alg + ":" + hex)
	if err != nil {
		return ""
	}

	return dgst
}

func (j *judge) judgeManifests(st *state, yield func(Verdict)) {
	var untagged []*candidate

	st.manifests.Scan(func(_ digest.Digest, record *ManifestRecord) bool {
		held := st.holdsManifest(record)
		if held && record.Digest != j.about { // nearly all
			return true
		}

		c := candidate{digest: record.Digest, pushed: record.Pushed, pulled: j.pulls.of(record.Digest, record.Pushed)}

		switch {
		case held:
			yield(c.verdict(Reason{Text: st.holderOf(record)}, ""))
		case len(st.kept) > 0:
			yield(c.verdict(Reason{Text: "another program's index.json, which zot cannot read whole, may name it"}, ""))
		case record.Subject != "":
			yield(j.judgeReferrer(c, record))
		default:
			untagged = append(untagged, &c)
		}

		return true
	})

	for _, rule := range j.policy.KeepUntagged {
		rule.apply(untagged, j.now)
	}

	for _, c := range untagged {
		record, _ := st.manifests.Get(c.digest)
		yield(j.judgeUntagged(*c, record))
	}
}

// holderOf says to people what holds a manifest that is held.
func (s *state) holderOf(record *ManifestRecord) string {
	if tags := s.tagsOf(record.Digest); len(tags) > 0 {
		return "tag " + string(tags[0]) + " points to it"
	}

	if s.inIndex(record.Digest) {
		return "an index names it"
	}

	return "its subject " + string(record.Subject) + " is there"
}

// judgeReferrer judges a manifest whose subject is not there, and that nothing holds.
func (j *judge) judgeReferrer(c candidate, record *ManifestRecord) Verdict {
	if !j.policy.DeleteReferrers {
		return c.verdict(Reason{Text: "its subject is not there, but deleteReferrers is not set"}, "")
	}

	return c.verdict(j.recent(record), "its subject is not there")
}

func (j *judge) judgeUntagged(c candidate, record *ManifestRecord) Verdict {
	if !j.policy.DeleteUntagged {
		return c.verdict(Reason{Text: "deleteUntagged is false"}, "")
	}

	return c.verdict(longer(c.kept, j.recent(record)), "no tag, index or subject holds it")
}

// recent is the reason that a manifest was pushed, let go of, or that a client was told of
// it, too short a time ago.
func (j *judge) recent(record *ManifestRecord) Reason {
	kept := longer(j.young("it was pushed", record.Pushed), j.young("what held it let go of it", record.Loose))

	if told := j.since(record.Digest); j.now.Before(told.Add(j.told)) {
		kept = longer(kept, Reason{Text: "a client was told at " + stamp(told) + " that it is there", Until: told.Add(j.told)})
	}

	return kept
}
