package api

import (
	"fmt"
	"net/http"

	"zotregistry.io/zot/pkg/access"
	"zotregistry.io/zot/pkg/auth"
	"zotregistry.io/zot/pkg/storage"
)

// need is what a user must be allowed for a route. The zero value is forgotten, and nobody
// is allowed that.
type need int

const (
	needsNothing need = iota + 1 // nobody is asked who he is
	needsEntry                   // something, somewhere
	needsLogin                   // to be somebody
	needsRead                    // to read in the repository
	needsCreate                  // to create in it
	needsPush                    // to create or to update in it: the handler finds out which
	needsDelete                  // to delete in it
	needsAdmin                   // to delete in all repositories, by adminPolicy
	needsMetrics                 // to read metrics
	needsInsight                 // to be somebody, and to read in all repositories, by adminPolicy
)

// met says whether the user may have what he asks for.
func (n need) met(r *request) bool {
	switch n {
	case needsNothing, needsEntry: // authenticate lets in those who may do anything
		return true
	case needsLogin:
		return r.user.Name != ""
	case needsRead:
		return r.may.Any(access.Read)
	case needsCreate:
		return r.may.Any(access.Create)
	case needsPush:
		return r.may.Any(access.Create | access.Update)
	case needsDelete:
		return r.may.Any(access.Delete)
	case needsAdmin:
		return r.doors.rules.Admin(r.user).Any(access.Delete)
	case needsMetrics:
		return r.doors.rules.Metrics(r.user)
	case needsInsight:
		return r.user.Name != "" && r.doors.rules.Admin(r.user).Any(access.Read)
	}

	return false
}

// hides says whether a user who may not have what he asks for is answered as if it were not
// there. That is so for what is in a repository, and for nothing else: absent has no other.
func (r *request) hides(needs need) bool {
	reading := r.Method == http.MethodGet || r.Method == http.MethodHead

	return reading && r.repo != "" && (needs == needsRead || needs == needsCreate) && !r.may.Any(access.Read)
}

// permit returns the handler that answers the user: the route's, or for a repository that he
// may not read that which answers as if it were not there.
//
// Errors: errDenied; auth.ErrUnauthorized, with the challenges set, if he could log in.
func (s *Server) permit(w *response, r *request, found route) (handler, error) {
	if r.repo != "" {
		r.may = r.doors.rules.Of(r.user, string(r.repo))
	}

	stranger := r.user.Anonymous() && r.doors.ways.Any()
	if stranger && r.endpoint == endpointBase {
		challenge(w, r, nil) // some clients send their credentials only if they are asked here

		if r.doors.ways.Tokens() != nil && r.Header.Get("Authorization") == "" {
			return nil, fmt.Errorf("%w: get a token, with a name or without", auth.ErrUnauthorized)
		}
	}

	nobody := found.needs == needsLogin && !r.doors.ways.Any() // the handler knows what to say
	if found.needs.met(r) || nobody {
		return found.handle, nil
	}

	if stranger {
		challenge(w, r, auth.ErrUnauthorized)

		return nil, fmt.Errorf("%w: not everyone may do this", auth.ErrUnauthorized)
	}

	if r.hides(found.needs) {
		return s.hidden[r.endpoint][r.Method].handle, nil
	}

	return nil, fmt.Errorf("%w: you may not do this here", errDenied)
}

// mayRead says whether the user may read a repository, which need not be that of the request.
func (r *request) mayRead(repo storage.RepoName) bool {
	return r.doors.rules.Of(r.user, string(repo)).Any(access.Read)
}

// mayCreate says whether the user may push what sets no tag.
//
// Errors: errDenied.
func (r *request) mayCreate() error {
	if !r.may.Any(access.Create) {
		return fmt.Errorf("%w: you may only move tags here", errDenied)
	}

	return nil
}

// limit adds to a precondition on tags what the user may not do to them.
func (r *request) limit(cond *storage.Precondition) {
	cond.NoNew = !r.may.Any(access.Create)
	cond.NoMove = !r.may.Any(access.Update)
	cond.OneTag = r.may.Any(access.DetectManifestCollision)
}
