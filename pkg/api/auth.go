package api

import (
	"errors"
	"fmt"

	"zotregistry.io/zot/pkg/auth"
)

// authenticate finds out who sent a request. Probes have no user.
//
// Errors: auth.ErrUnauthorized, with the challenges set; auth.ErrUnavailable,
// *auth.TooManyError.
func (s *Server) authenticate(w *response, r *request) error {
	if !s.auth.Any() || r.endpoint.health() {
		return nil
	}

	user, err := s.auth.User(r.Request)
	if err == nil && user.Anonymous() {
		err = auth.ErrUnauthorized
	}

	if err == nil && !user.Scope.Allows(tokenNeeds(r)) {
		err = auth.ErrScope
	}

	if errors.Is(err, auth.ErrUnauthorized) {
		w.Header()["Www-Authenticate"] = s.auth.Challenges(err, tokenNeeds(r))
	}

	if err != nil {
		return fmt.Errorf("authenticate: %w", err)
	}

	r.user = user

	return nil
}
