package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"zotregistry.io/zot/pkg/access"
	"zotregistry.io/zot/pkg/auth"
	"zotregistry.io/zot/pkg/storage"
)

// request is a request, parsed.
type request struct {
	*http.Request
	target

	query url.Values
	user  auth.User
	doors *doors         // the same for all of the request
	may   access.Actions // what the user may do in repo
	id    string         // in the log, and in requestIDHeader
	start time.Time
	code  string // of the error that it was answered with

	charged bool // to a client's limit
}

// handler answers a request, or returns an error for writeError. It sends nothing
// before it is sure.
type handler func(w *response, r *request) error

// route is a handler, and what a user needs to be answered by it.
type route struct {
	needs  need
	handle handler
}

// methods are the routes of an endpoint.
type methods map[string]route

// allow is the value of an Allow header, without the methods named.
func (m methods) allow(without ...string) string {
	names := []string{http.MethodOptions}

	for name := range m {
		if !slices.Contains(without, name) {
			names = append(names, name)
		}
	}

	slices.Sort(names)

	return strings.Join(names, ", ")
}

// panicError is a bug of ours that a handler ran into.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// serve answers one request, and writes one line about it.
func (s *Server) serve(rw http.ResponseWriter, hr *http.Request) {
	w := newResponse(rw, hr, s.cfg.WriteTimeout)
	r := &request{Request: hr, start: time.Now(), id: s.ids.of(hr)}

	if hr.Body != nil && hr.Body != http.NoBody {
		b := newBody(hr.Body, &w.ctl, s.cfg.ReadTimeout)
		hr.Body = b

		defer b.finish()
	}

	if changes(hr.Method) { // who reads asks after errors only
		w.set(requestIDHeader, r.id)
	}

	if s.metrics != nil {
		s.metrics.Begin()
	}

	s.watch(w, r)

	err := s.guard(w, r)
	begun := w.status != 0

	if err != nil && !begun {
		writeError(w, r, err)
	}

	status := outcome(w, err)
	s.measure(w, r, status, err)
	s.logRequest(w, r, status, err)

	if err != nil && begun {
		// Headers promised more than we can send: the client must not take what it
		// has for the whole.
		panic(http.ErrAbortHandler)
	}
}

// guard turns a panic into an error.
func (s *Server) guard(w *response, r *request) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &panicError{value: value, stack: debug.Stack()}
		}
	}()

	return s.route(w, r)
}

// route finds the handler, once the user is known.
func (s *Server) route(w *response, r *request) error {
	parsed, err := s.parse(r.URL.Path)
	r.target = parsed

	r.doors = s.doors.Load()

	if err == nil && r.endpoint == endpointBase { // where clients look for it
		w.set("Docker-Distribution-Api-Version", "registry/2.0")
	}

	s.allowOrigin(w, r)

	lost := errors.Is(err, errNoEndpoint)
	if limited := r.doors.limits.admit(r, !lost && r.identifies()); limited != nil {
		return limited
	}

	if lost {
		return err
	}

	if r.Method == http.MethodOptions {
		return s.options(w, r)
	}

	if err := r.doors.limits.settle(r, authenticate(w, r)); err != nil {
		return err
	}

	if err != nil {
		return tagName(r, err)
	}

	return s.call(w, r)
}

// call calls the handler for the request's method.
func (s *Server) call(w *response, r *request) error {
	endpoint := s.routes[r.endpoint]

	found, ok := endpoint[r.Method]
	if !ok {
		w.Header().Set("Allow", endpoint.allow())

		return fmt.Errorf("%w: %s", errMethod, r.Method)
	}

	var err error

	if r.URL.RawQuery != "" {
		if r.query, err = url.ParseQuery(r.URL.RawQuery); err != nil {
			return fmt.Errorf("%w: %w", errQuery, err)
		}
	}

	handle, err := s.permit(w, r, found)
	if err != nil {
		return err
	}

	err = handle(w, r)
	if errors.Is(err, storage.ErrInUse) {
		w.Header().Set("Allow", endpoint.allow(http.MethodDelete))
	}

	return err
}
