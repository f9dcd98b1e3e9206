package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"zotregistry.io/zot/pkg/auth"
)

// giveToken answers /zot/auth/token: a token of the user who asks, or of nobody (distribution's
// documents on token authentication, "Requesting a Token"). The scopes that a client asks for mean nothing: a
// token says who its bearer is. Nobody gets one for another one, which would make it last.
func giveToken(w *response, r *request) error {
	tokens := r.doors.ways.Tokens()

	switch {
	case tokens == nil:
		return errNoEndpoint
	case r.user.ByToken:
		return fmt.Errorf("%w: log in without a token", errDenied)
	}

	given, err := tokens.Give(r.user)
	if err != nil {
		return err
	}

	data, err := json.Marshal(map[string]any{
		"token": given, "access_token": given,
		"expires_in": int(auth.TokenLife / time.Second), "issued_at": r.start.UTC().Format(time.RFC3339),
	})
	if err != nil {
		return fmt.Errorf("encode token: %w", err)
	}

	w.Header().Set("Cache-Control", "no-store")

	return sendJSON(w, http.StatusOK, "application/json", data)
}
