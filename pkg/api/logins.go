package api

import (
	"encoding/json"
	"fmt"
	"net/http"

	"zotregistry.io/zot/pkg/auth"
)

// loginHandler answers /zot/auth/login, callback and logout: browsers whose users log in at
// an OpenID provider.
type loginHandler struct {
	openID *auth.OpenID // nil = they do not
}

// only is a route of one method, that nobody is asked for who he is: who logs in is not yet
// known, and whose session is over may log out.
func (h loginHandler) only(method string, handle handler) methods {
	return methods{method: {needsNothing, func(w *response, r *request) error {
		if h.openID == nil {
			return errNoEndpoint
		}

		// Addresses of logins have secrets, which are for nobody else.
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Referrer-Policy", "no-referrer")

		return handle(w, r)
	}}}
}

// begin sends the browser to the provider.
func (h loginHandler) begin(w *response, r *request) error {
	location, cookie, err := h.openID.Begin(r.Context(), r.query.Get("provider"), r.query.Get("callback_ui"))
	if err != nil {
		return err
	}

	http.SetCookie(w, cookie)

	return redirect(w, location)
}

// finish answers the browser that the provider has sent back.
func (h loginHandler) finish(w *response, r *request) error {
	login, cookies, err := h.openID.Finish(r.Request, r.provider)

	for _, cookie := range cookies {
		http.SetCookie(w, cookie)
	}

	if err != nil {
		return err
	}

	if r.user = login.User; login.Back != "" {
		return redirect(w, login.Back)
	}

	data, err := json.Marshal(map[string]any{"username": login.User.Name, "groups": login.User.Groups})
	if err != nil {
		return fmt.Errorf("encode user: %w", err)
	}

	return sendJSON(w, http.StatusOK, "application/json", data)
}

// end ends the session.
func (h loginHandler) end(w *response, r *request) error {
	cookie, err := h.openID.End(r.Request)
	if err != nil {
		return err
	}

	http.SetCookie(w, cookie)
	w.WriteHeader(http.StatusOK)

	return nil
}

func redirect(w *response, location string) error {
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusFound)

	return nil
}
