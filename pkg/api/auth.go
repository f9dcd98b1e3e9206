package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// defaultRealm is what http.realm is when it is not set.
const defaultRealm = "zot"

// authenticate finds out who sent a request. Probes have no user.
//
// Errors: errUnauthorized, with the challenge set.
func (s *Server) authenticate(w *response, r *request) error {
	if s.auth == nil || r.endpoint.health() {
		return nil
	}

	who, err := s.auth.user(r.Request)
	if err == nil {
		r.who = who

		return nil
	}

	if errors.Is(err, errUnauthorized) {
		w.Header().Set("WWW-Authenticate", challenge(s.cfg.Realm))
	}

	return fmt.Errorf("authenticate: %w", err)
}

// challenge asks for a name and a password (RFC 7617).
func challenge(realm string) string {
	if realm == "" {
		realm = defaultRealm
	}

	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(realm)

	return `Basic realm="` + quoted + `", charset="UTF-8"`
}

// pause waits, or until the client is gone.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}

	timer := time.NewTimer(d)
	defer timer.Stop()

	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
