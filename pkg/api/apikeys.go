package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"zotregistry.io/zot/pkg/auth"
)

// errKeyRequest: the body that asks for an API key is not right.
var errKeyRequest = errors.New("invalid request for an API key")

// maxKeyRequest bounds the body that asks for an API key, in bytes.
const maxKeyRequest = 64 << 10

// keyHandler answers /zot/auth/apikey: each user's own API keys.
type keyHandler struct {
	keys *auth.Keys // nil = there are none
}

func (h keyHandler) methods() methods {
	all := methods{
		http.MethodGet: {needsLogin, h.list}, http.MethodHead: {needsLogin, h.list},
		http.MethodPost: {needsLogin, h.create}, http.MethodDelete: {needsLogin, h.revoke},
	}

	for method, found := range all {
		all[method] = route{found.needs, h.owned(found.handle)}
	}

	return all
}

// owned returns a handler for those who have logged in by a way of their own. A key or token
// makes no keys, and does not revoke any: who has got hold of one does not keep it longer so.
func (h keyHandler) owned(handle handler) handler {
	return func(w *response, r *request) error {
		switch {
		case h.keys == nil:
			return errNoEndpoint
		case r.user.ByKey || r.user.ByToken || r.user.Scope != nil:
			return fmt.Errorf("%w: log in without a token or API key", errDenied)
		}

		w.Header().Set("Cache-Control", "no-store")

		return handle(w, r)
	}
}

// list lists the keys without what is secret of them.
func (h keyHandler) list(w *response, r *request) error {
	keys, err := h.keys.List(r.Context(), r.user)
	if err != nil {
		return err
	}

	data, err := json.Marshal(map[string][]auth.Key{"apiKeys": keys})
	if err != nil {
		return fmt.Errorf("encode API keys: %w", err)
	}

	return sendJSON(w, http.StatusOK, "application/json", data)
}

// create makes a key, and shows it this once.
func (h keyHandler) create(w *response, r *request) error {
	wanted, err := parseKeyRequest(r)
	if err != nil {
		return err
	}

	made, secret, err := h.keys.Create(r.Context(), r.user, wanted)
	if err != nil {
		return err
	}

	data, err := json.Marshal(struct {
		auth.Key

		APIKey string `json:"apiKey"`
	}{made, secret})
	if err != nil {
		return fmt.Errorf("encode API key: %w", err)
	}

	return sendJSON(w, http.StatusCreated, "application/json", data)
}

func parseKeyRequest(r *request) (auth.Key, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxKeyRequest+1))
	if err != nil {
		return auth.Key{}, fmt.Errorf("read body: %w", err)
	}

	if len(body) > maxKeyRequest {
		return auth.Key{}, fmt.Errorf("%w: it is longer than %d bytes", errKeyRequest, maxKeyRequest)
	}

	var asked struct {
		Label   string    `json:"label"`
		Scopes  []string  `json:"scopes"`
		Expires time.Time `json:"expirationDate"`
	}

	if err := json.Unmarshal(body, &asked); err != nil {
		return auth.Key{}, fmt.Errorf("%w: %w", errKeyRequest, err)
	}

	return auth.Key{Label: asked.Label, Scopes: asked.Scopes, Expires: asked.Expires}, nil
}

// revoke ends the key that ?id= names.
func (h keyHandler) revoke(w *response, r *request) error {
	if err := h.keys.Revoke(r.Context(), r.user, r.query.Get("id")); err != nil {
		return err
	}

	w.WriteHeader(http.StatusOK)

	return nil
}
