package api

import "net/http"

// What a page of another origin may send and see.
const (
	corsRequestHeaders = "Authorization, Content-Type, Accept, Range, Content-Range, " +
		"If-Match, If-None-Match, If-Range, X-Request-Id"
	corsResponseHeaders = "Docker-Content-Digest, Docker-Upload-UUID, ETag, Link, Location, Range, " +
		"Content-Range, OCI-Subject, OCI-Tag, OCI-Filters-Applied, WWW-Authenticate, X-Request-Id"
)

// allowOrigin tells a browser that a page of the origin in http.allowOrigin may read
// the answer.
func (s *Server) allowOrigin(w *response, r *request) {
	origin := s.cfg.AllowOrigin
	if origin == "" || r.endpoint.health() {
		return
	}

	header := w.Header()
	if origin != "*" {
		header.Add("Vary", "Origin")

		if r.Header.Get("Origin") != origin {
			return
		}

		// Browsers refuse credentials together with "*".
		header.Set("Access-Control-Allow-Credentials", "true")
	}

	header.Set("Access-Control-Allow-Origin", origin)
	header.Set("Access-Control-Expose-Headers", corsResponseHeaders)
}

// options answers OPTIONS, also for a browser that asks whether it may ask. Browsers
// send no credentials with it.
func (s *Server) options(w *response, r *request) error {
	allow := s.routes[r.endpoint].allow()
	w.Header().Set("Allow", allow)

	if w.Header().Get("Access-Control-Allow-Origin") != "" {
		w.Header().Set("Access-Control-Allow-Methods", allow)
		w.Header().Set("Access-Control-Allow-Headers", corsRequestHeaders)
		w.Header().Set("Access-Control-Max-Age", "600")
	}

	w.WriteHeader(http.StatusNoContent)

	return nil
}
