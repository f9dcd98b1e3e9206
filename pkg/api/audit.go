package api

import (
	"net/http"
	"time"

	"zotregistry.io/zot/internal/printable"
	"zotregistry.io/zot/pkg/audit"
)

// WithAudit has changes, and attempts at some, written to an audit log.
func WithAudit(log *audit.Log) Option {
	return func(s *Server) { s.audit = log }
}

// watch has the audit log written when the answer begins, if the request is one that it is
// about: then the outcome is known, and a client that has an answer finds its line.
func (s *Server) watch(w *response, r *request) {
	if s.audit == nil || !changes(r.Method) {
		return
	}

	w.begins = func(status int) {
		if _, ok := s.routes[r.endpoint][r.Method]; !ok || r.moves(status) {
			return
		}

		s.audit.Write(r.entry(w.Header(), status))
	}
}

// changes says whether a method may change something.
func changes(method string) bool {
	switch method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return true
	}

	return false
}

// moves says whether a request has done no more than to begin an upload or to add bytes to it:
// nothing can be seen of that.
func (r *request) moves(status int) bool {
	upload := r.endpoint == endpointUploads || r.endpoint == endpointUpload

	return upload && status == http.StatusAccepted && r.Method != http.MethodDelete
}

// entry is what the audit log says of a request, whose answer has these headers.
func (r *request) entry(answer http.Header, status int) audit.Entry {
	e := audit.Entry{
		Time: time.Now().UTC(), Request: r.id, User: r.user.Name, Remote: r.RemoteAddr,
		Method: r.Method, Path: shown(r.URL.Path),
		Repository: string(r.repo), Tags: shownTags(r.query["tag"]), Digest: answer.Get("Docker-Content-Digest"),
		Status: status, Code: r.code,
	}

	switch r.endpoint {
	case endpointManifest:
		e.Reference = r.ref.String()
	case endpointBlob:
		e.Reference = r.digest.String()
	case endpointUpload:
		e.Reference = shown(r.upload)
	case endpointAPIKeys:
		e.Reference = shown(r.query.Get("id"))
	case endpointUploads:
		e.From = shown(r.query.Get("from"))
	}

	return e
}

// shownTags are the tags of a query, which may be none that there can be.
func shownTags(tags []string) []string {
	const longest = 128

	var all []string
	for _, tag := range tags[:min(len(tags), maxTags)] {
		all = append(all, printable.Shorten(tag, longest))
	}

	return all
}
