package access

import (
	"maps"
	"slices"
	"strings"

	"zotregistry.io/zot/pkg/auth"
)

// part is a part of the catalog: one repository, or all below a directory.
type part struct {
	name  string // "a/b" is that repository, "a/b/" all below it, "" the whole catalog
	rules []*rule
}

// partsOf are the parts in which repositories fall under rules, in byte order.
func partsOf(under map[string][]*rule) []part {
	found := map[string][]*rule{}

	for dir, rules := range under {
		for _, next := range rules {
			if dir == "" {
				found[""] = append(found[""], next)

				continue
			}

			found[dir] = append(found[dir], next)

			if !next.exact {
				found[dir+"/"] = append(found[dir+"/"], next)
			}
		}
	}

	parts := make([]part, 0, len(found))
	for _, name := range slices.Sorted(maps.Keys(found)) {
		parts = append(parts, part{name: name, rules: found[name]})
	}

	return parts
}

// Readable lists the parts of the catalog outside of which a user may read nothing, in byte
// order: "a/b" is a repository, "a/b/" all below it, "" the whole catalog. None holds another.
// So a list of what one may read need not go through what others have.
func (r *Rules) Readable(user auth.User) []string {
	if r.Admin(user).Any(Read) {
		return []string{""}
	}

	var (
		names   []string
		covered = "/" // the last directory that is listed whole
	)

	for _, next := range r.parts {
		if strings.HasPrefix(next.name, covered) {
			continue
		}

		reads := func(given *rule) bool { return r.by(given, &user).Any(Read) }
		if !slices.ContainsFunc(next.rules, reads) {
			continue
		}

		names = append(names, next.name)

		if next.name == "" || strings.HasSuffix(next.name, "/") {
			covered = next.name
		}
	}

	return names
}
