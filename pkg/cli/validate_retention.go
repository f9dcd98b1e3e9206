package cli

import (
	"fmt"
	"regexp"

	"github.com/bmatcuk/doublestar/v4"

	"zotregistry.io/zot/pkg/api/config"
)

func (c *check) retention(path string, store *config.Store) {
	retention := store.Retention
	if retention == nil {
		return
	}

	path += ".retention"

	if retention.Delay != nil {
		c.notNegativeTime(path+".delay", *retention.Delay)
	}

	for i, policy := range retention.Policies {
		c.retentionPolicy(fmt.Sprintf("%s.policies[%d]", path, i), policy)
	}

	if !store.GC || store.GCInterval == 0 {
		c.warn(path, "has no effect: gc, which removes what is not kept, is off")
	}
}

func (c *check) retentionPolicy(path string, policy config.RetentionPolicy) {
	if len(policy.Repositories) == 0 {
		c.warn(path+".repositories", `names no repository, so the policy is for none; write ["**"] for all`)
	}

	for i, glob := range policy.Repositories {
		c.glob(fmt.Sprintf("%s.repositories[%d]", path, i), glob)
	}

	for i, keep := range policy.KeepTags {
		at := fmt.Sprintf("%s.keepTags[%d]", path, i)

		for j, pattern := range keep.Patterns {
			c.regexp(fmt.Sprintf("%s.patterns[%d]", at, j), pattern)
		}

		c.keep(at, keep.KeepUntagged)
	}

	for i, keep := range policy.KeepUntagged {
		c.keep(fmt.Sprintf("%s.keepUntagged[%d]", path, i), keep)
	}
}

func (c *check) keep(path string, keep config.KeepUntagged) {
	c.notNegativeTime(path+".pulledWithin", keep.PulledWithin)
	c.notNegativeTime(path+".pushedWithin", keep.PushedWithin)
	c.notNegative(path+".mostRecentlyPushedCount", keep.MostRecentlyPushedCount)
	c.notNegative(path+".mostRecentlyPulledCount", keep.MostRecentlyPulledCount)
}

// glob checks a pattern of repositories.
func (c *check) glob(path, pattern string) {
	if pattern == "" || !doublestar.ValidatePattern(pattern) {
		c.wrong(path, fmt.Sprintf("the pattern %q does not compile", pattern), `write a glob, as "infra/**"`)
	}
}

// regexp checks a pattern of tags.
func (c *check) regexp(path, pattern string) {
	if _, err := regexp.Compile(pattern); err != nil {
		c.wrong(path, fmt.Sprintf("the pattern %q does not compile: %v", pattern, err),
			`write a regular expression (RE2), as "v.*"`)
	}
}
