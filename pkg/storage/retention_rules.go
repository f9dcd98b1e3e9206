package storage

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
)

// candidate is a tag, or a manifest that nothing holds, as the rules look at it.
type candidate struct {
	tag    Tag // "" = the manifest itself
	digest digest.Digest
	pushed time.Time
	pulled time.Time

	kept Reason // by a rule; without a text none has kept it yet
}

// longer returns the reason that keeps for longer.
func longer(a, b Reason) Reason {
	switch {
	case b.Text == "" || a.Text != "" && a.Until.IsZero():
		return a
	case a.Text == "" || b.Until.IsZero() || b.Until.After(a.Until):
		return b
	}

	return a
}

// apply notes which candidates the rule keeps.
func (k Keep) apply(all []*candidate, now time.Time) {
	for _, c := range all {
		if k == (Keep{}) {
			c.kept = longer(c.kept, Reason{Text: "a rule without a condition keeps it"})
		}

		c.keepWithin("pulledWithin", c.pulled, k.PulledWithin, now)
		c.keepWithin("pushedWithin", c.pushed, k.PushedWithin, now)
	}

	keepNewest("mostRecentlyPushedCount", all, k.MostRecentlyPushed, func(c *candidate) time.Time { return c.pushed })
	keepNewest("mostRecentlyPulledCount", all, k.MostRecentlyPulled, func(c *candidate) time.Time { return c.pulled })
}

// keepWithin keeps a candidate for which at is not longer ago than within.
func (c *candidate) keepWithin(condition string, at time.Time, within time.Duration, now time.Time) {
	if until := at.Add(within); now.Before(until) {
		c.kept = longer(c.kept, Reason{Text: condition + " " + spell(within) + " keeps it", Until: until})
	}
}

// keepNewest keeps the n candidates of the latest times. Of equal ones the names decide,
// so that every run decides alike.
func keepNewest(condition string, all []*candidate, n int, at func(*candidate) time.Time) {
	sorted := slices.Clone(all)
	slices.SortFunc(sorted, func(a, b *candidate) int {
		return cmp.Or(at(b).Compare(at(a)), cmp.Compare(a.tag, b.tag), cmp.Compare(a.digest, b.digest))
	})

	for _, c := range sorted[:min(n, len(sorted))] {
		c.kept = longer(c.kept, Reason{Text: fmt.Sprintf("%s %d keeps it", condition, n)})
	}
}
