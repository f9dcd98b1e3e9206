package access

import (
	"cmp"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// pattern is a glob of repositories.
type pattern struct {
	glob  string
	dir   string // what it begins with that is no pattern, in whole components: of a/b*/c it is a
	exact bool   // it is no pattern at all
	tree  bool   // it is dir and all that is below it: a/**, **
}

// parsePattern reads a glob that is valid.
func parsePattern(glob string) pattern {
	p := pattern{glob: glob, dir: glob}

	special := strings.IndexAny(glob, `*?[{\`)
	if special < 0 {
		p.exact = true

		return p
	}

	slash := strings.LastIndexByte(glob[:special], '/')
	p.dir = glob[:max(slash, 0)]
	p.tree = glob == "**" || slash > 0 && glob[slash+1:] == "**"

	return p
}

// matches says whether a repository that is dir, or below it, falls under the pattern.
func (p *pattern) matches(repo string) bool {
	switch {
	case p.tree:
		return true
	case p.exact:
		return len(repo) == len(p.glob)
	}

	return doublestar.MatchUnvalidated(p.glob, repo)
}

// before orders patterns: the longest counts, as in upstream zot. Of equally long ones it is
// the one that says more before its first wildcard.
func (p *pattern) before(q *pattern) int {
	return cmp.Or(
		cmp.Compare(len(q.glob), len(p.glob)),
		cmp.Compare(len(q.dir), len(p.dir)),
		strings.Compare(p.glob, q.glob),
	)
}

// find returns the rule that a repository falls under, nil if there is none. It looks only at
// those whose directory is the repository or one above it, so that the cost does not grow
// with how many teams there are.
func (r *Rules) find(repo string) *rule {
	best := first(r.under[""], repo, nil)

	for end := 0; end < len(repo); {
		end = nextSlash(repo, end)
		best = first(r.under[repo[:end]], repo, best)
	}

	return best
}

// nextSlash returns where the next slash behind i is, or the end.
func nextSlash(repo string, i int) int {
	if next := strings.IndexByte(repo[i+1:], '/'); next >= 0 {
		return i + 1 + next
	}

	return len(repo)
}

// first returns the first of rules that matches, unless best counts more.
func first(rules []*rule, repo string, best *rule) *rule {
	for _, next := range rules {
		if best != nil && best.rank < next.rank {
			break
		}

		if next.matches(repo) {
			return next
		}
	}

	return best
}
