package api

import "net/http"

// alive answers /livez and /startupz: a server that answers is alive, and it listens
// only once its stores are open.
func alive(w *response, _ *request) error {
	return sendJSON(w, http.StatusOK, "text/plain; charset=utf-8", []byte("ok\n"))
}

// ready answers /readyz: no while the server drains, so that a balancer sends no
// more.
func ready(draining func() bool) handler {
	return func(w *response, r *request) error {
		if draining() {
			return sendJSON(w, http.StatusServiceUnavailable, "text/plain; charset=utf-8", []byte("shutting down\n"))
		}

		return alive(w, r)
	}
}
