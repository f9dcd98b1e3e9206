// Package access decides who may do what: http.accessControl. Read this file first: Actions
// are what may be done, and Rules say what a user may do in a repository. compile.go makes
// Rules of a configuration, match.go finds the rule that a repository falls under, and
// parts.go says where in the catalog there is anything to read at all.
//
// Who sends a request is found out by pkg/auth, and what is answered to those who may not do
// something is decided by pkg/api (docs/access.md).
package access

import (
	"slices"

	"zotregistry.io/zot/pkg/auth"
)

// Actions is a set of what may be done in a repository.
type Actions uint8

// The actions of a configuration.
const (
	Read   Actions = 1 << iota // get and list what is there
	Create                     // push what is not there: blobs, manifests, tags
	Update                     // move a tag that exists to another manifest
	Delete                     // delete tags, manifests and blobs

	// DetectManifestCollision allows nothing: who has it does not delete a manifest by its
	// digest while several tags point to it.
	DetectManifestCollision

	none Actions = 0

	// All is everything that may be allowed.
	All = Read | Create | Update | Delete
)

// Any says whether one of the actions named, or more, is in the set.
func (a Actions) Any(of Actions) bool { return a&of != 0 }

// Rules say who may do what. They never change, and their methods are called concurrently;
// those that are called for each request allocate nothing. New makes them.
type Rules struct {
	unlimited bool // no accessControl: whoever is let in may do everything
	login     bool // there is a way to log in

	under    map[string][]*rule // by directory; each list by rank
	admins   grants
	memberOf map[string][]string // groups of the configuration, by user
	parts    []part              // of the catalog, in byte order

	anonymous     bool // one who is not logged in may do something somewhere
	metricsUsers  []string
	metricsPublic bool
}

// grants are actions of those who are named.
type grants struct {
	users  map[string]Actions
	groups map[string]Actions
}

// rule is what a pattern of repositories says.
type rule struct {
	pattern
	grants

	rank     int     // of those that match a repository, the lowest counts
	loggedIn Actions // of everyone who is logged in
	everyone Actions
}

// Of returns what a user may do in a repository. The zero User is anonymous.
func (r *Rules) Of(user auth.User, repo string) Actions {
	if r.unlimited {
		return r.ofUnlimited(user)
	}

	may := r.named(&r.admins, &user)
	if found := r.find(repo); found != nil {
		may |= r.by(found, &user)
	}

	return may
}

// Admin returns what a user may do in all repositories, whatever rules say: what adminPolicy
// gives him.
func (r *Rules) Admin(user auth.User) Actions {
	if r.unlimited {
		return r.ofUnlimited(user)
	}

	return r.named(&r.admins, &user)
}

func (r *Rules) ofUnlimited(user auth.User) Actions {
	if r.login && user.Anonymous() {
		return none
	}

	return All
}

// Anonymous says whether one who is not logged in may do anything anywhere.
func (r *Rules) Anonymous() bool { return r.anonymous }

// Metrics says whether a user may read the metrics of the server.
func (r *Rules) Metrics(user auth.User) bool {
	if r.unlimited {
		return r.ofUnlimited(user).Any(Read)
	}

	return r.metricsPublic || user.Name != "" && slices.Contains(r.metricsUsers, user.Name)
}

// by returns what a rule gives a user.
func (r *Rules) by(found *rule, user *auth.User) Actions {
	if user.Anonymous() {
		return found.everyone
	}

	return found.everyone | found.loggedIn | r.named(&found.grants, user)
}

// named returns what a user has by his name and by his groups: those that the way he logged
// in says, and those of the configuration.
func (r *Rules) named(given *grants, user *auth.User) Actions {
	if user.Anonymous() {
		return none
	}

	may := given.users[user.Name]

	if len(given.groups) == 0 {
		return may
	}

	for _, group := range user.Groups {
		may |= given.groups[group]
	}

	for _, group := range r.memberOf[user.Name] {
		may |= given.groups[group]
	}

	return may
}
