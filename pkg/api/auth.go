package api

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"zotregistry.io/zot/pkg/auth"
)

// authenticate finds out who sent a request, and lets in those who may do anything at all.
// Probes have no user, nor has who is about to log in.
//
// Errors: auth.ErrUnauthorized, with the challenges set; auth.ErrUnavailable,
// auth.ErrCrossOrigin, *auth.TooManyError.
func authenticate(w *response, r *request) error {
	if !r.doors.ways.Any() || r.endpoint.health() || r.endpoint.login() {
		return nil
	}

	if saysNothing(r) {
		r.Header.Del("Authorization")
	}

	user, err := r.doors.ways.User(r.Request)
	if err == nil && user.Anonymous() && !r.welcomesAll() {
		err = auth.ErrUnauthorized
	}

	if err == nil && user.Scope != nil && !user.Scope.Allows(tokenNeeds(r)) {
		if err = auth.ErrScope; user.ByKey { // there is no other one to be had
			err = fmt.Errorf("%w: the API key is not for this", errDenied)
		}
	}

	if errors.Is(err, auth.ErrUnauthorized) {
		challenge(w, r, err)
	}

	if errors.Is(err, auth.ErrSession) { // next time the browser comes without
		http.SetCookie(w, r.doors.ways.OpenID().Forget())
	}

	if errors.Is(err, auth.ErrCertificate) { // next time the client shows one that is good
		w.Header().Set("Connection", "close")
	}

	if err != nil {
		return fmt.Errorf("authenticate: %w", err)
	}

	r.user = user

	return nil
}

// welcomesAll says whether one who is not logged in may do anything where the request goes.
func (r *request) welcomesAll() bool {
	return r.doors.rules.Anonymous() || r.endpoint == endpointMetrics && r.doors.rules.Metrics(auth.User{})
}

// challenge says how to log in: where a client would get a token, with a password.
func challenge(w *response, r *request, why error) {
	open := r.doors.rules.Anonymous() && r.endpoint != endpointToken

	w.Header()["Www-Authenticate"] = r.doors.ways.Challenges(why, tokenNeeds(r), open)
}

// saysNothing says whether the credentials are an empty name with an empty password: podman
// and skopeo send them for a user who has none. (Every request asks this: nothing is decoded.)
func saysNothing(r *request) bool {
	const empty = "Og==" // ":" in base64

	scheme, credentials, _ := strings.Cut(r.Header.Get("Authorization"), " ")

	return credentials == empty && strings.EqualFold(scheme, "Basic")
}
