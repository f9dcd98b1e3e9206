package auth

import (
	"slices"
	"strings"
)

// Access is actions on one thing, as tokens name them: pull, push and delete of a
// "repository", or * of the "registry" that is called "catalog" (distribution-spec's
// documents on token authentication, "Requesting a Token"). The zero Access needs nothing.
type Access struct {
	Type    string
	Name    string
	Actions []string
}

// String is the access as a scope names it.
func (a Access) String() string {
	if a.Type == "" {
		return ""
	}

	return a.Type + ":" + a.Name + ":" + strings.Join(a.Actions, ",")
}

// Scope is what a token allows, whatever its bearer may do otherwise. It never changes. A
// nil Scope is that of a user without a token: no limit.
type Scope struct{ access []Access }

// Allows says whether the scope has all the actions of a.
func (s *Scope) Allows(a Access) bool {
	if s == nil || a.Type == "" {
		return true
	}

	for _, action := range a.Actions {
		if !s.has(a.Type, a.Name, action) {
			return false
		}
	}

	return true
}

func (s *Scope) has(kind, name, action string) bool {
	return slices.ContainsFunc(s.access, func(a Access) bool {
		return a.Type == kind && a.Name == name && (slices.Contains(a.Actions, action) || slices.Contains(a.Actions, "*"))
	})
}
