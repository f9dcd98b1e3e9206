package storage

import (
	"regexp"
	"slices"
	"time"

	"github.com/bmatcuk/doublestar/v4"
)

// Retention says which tags and manifests GC removes. The zero value keeps all tags, and
// removes what has neither tag, index nor subject for GC.Delay. docs/gc.md has the rules.
type Retention struct {
	DryRun   bool           // log what would be removed, remove nothing
	Delay    *time.Duration // that whatever was pushed or let go of stays; nil = GC.Delay
	Policies []Policy       // the first that matches a repository is its policy
}

// Policy is what is kept in some repositories.
type Policy struct {
	Repositories    []string // globs; * is a part of a name, ** are any number of them
	DeleteReferrers bool     // those that have no tag, and whose subject is not there
	DeleteUntagged  bool     // manifests that nothing holds
	KeepTags        []KeepTags
	KeepUntagged    []Keep // which of the untagged stay; empty = none
}

// KeepTags is a rule for the tags that match one of Patterns. A tag that no rule keeps goes;
// where there are no rules, all tags stay.
type KeepTags struct {
	Keep

	Patterns []*regexp.Regexp // found anywhere in the tag; empty = all tags
}

// Keep is a rule: one of its conditions is enough to be kept. Zero is no condition; a rule
// without any keeps all.
type Keep struct {
	PulledWithin       time.Duration
	PushedWithin       time.Duration
	MostRecentlyPushed int // that many
	MostRecentlyPulled int
}

// defaultPolicy is that of a repository that no policy matches.
var defaultPolicy = Policy{DeleteUntagged: true}

// policyOf returns the policy of a repository.
func (rt Retention) policyOf(name RepoName) Policy {
	for _, policy := range rt.Policies {
		if slices.ContainsFunc(policy.Repositories, func(glob string) bool {
			return doublestar.MatchUnvalidated(glob, string(name))
		}) {
			return policy
		}
	}

	return defaultPolicy
}

// needsPulls says whether it matters when something was pulled.
func (p Policy) needsPulls() bool {
	needs := func(k Keep) bool { return k.PulledWithin > 0 || k.MostRecentlyPulled > 0 }

	return slices.ContainsFunc(p.KeepUntagged, needs) ||
		slices.ContainsFunc(p.KeepTags, func(k KeepTags) bool { return needs(k.Keep) })
}

// needsPulls says whether that is so in any repository.
func (rt Retention) needsPulls() bool { return slices.ContainsFunc(rt.Policies, Policy.needsPulls) }

// retentionDelay is for how long whatever was pushed or let go of stays.
func (gc GC) retentionDelay() time.Duration {
	if gc.Retention.Delay != nil {
		return *gc.Retention.Delay
	}

	return gc.Delay
}

// matches says whether a rule is about a tag.
func (k KeepTags) matches(tag Tag) bool {
	return len(k.Patterns) == 0 ||
		slices.ContainsFunc(k.Patterns, func(p *regexp.Regexp) bool { return p.MatchString(string(tag)) })
}
