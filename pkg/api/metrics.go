package api

import (
	"errors"
	"net/http"
	"time"
)

// Metrics counts requests, and answers those who ask for figures. Its methods are called
// concurrently.
type Metrics interface {
	http.Handler

	// Begin is called when a request has come, and End when it was answered.
	Begin()
	End(done Measured)
}

// Measured is what is counted of a request.
type Measured struct {
	Endpoint int // which of Endpoints
	Method   string
	Status   int           // as in the log
	Sent     int64         // bytes of the body
	Took     time.Duration // from its headers to the end of the answer
	Pushed   bool          // it pushed a manifest
	Pulled   bool          // it pulled one
}

// noEndpoint is the last of Endpoints: paths that mean nothing.
const noEndpoint = len(endpointNames)

// Endpoints are the kinds of URL, by the number that Measured has.
func Endpoints() []string { return append(endpointNames[:noEndpoint:noEndpoint], "none") }

// Option is what a Server may have beside its configuration.
type Option func(s *Server)

// WithMetrics has requests counted, and the figures shown at a path.
func WithMetrics(path string, metrics Metrics) Option {
	return func(s *Server) { s.figures, s.metrics = path, metrics }
}

// parse reads a path, with those that the configuration has chosen.
func (s *Server) parse(path string) (target, error) {
	if s.metrics != nil && path == s.figures {
		return target{endpoint: endpointMetrics}, nil
	}

	return parseTarget(path)
}

// measure tells the metrics of a request that was answered.
func (s *Server) measure(w *response, r *request, status int, err error) {
	if s.metrics == nil {
		return
	}

	kind := int(r.endpoint)
	if err != nil && errors.Is(err, errNoEndpoint) {
		kind = noEndpoint
	}

	manifest := err == nil && r.endpoint == endpointManifest

	s.metrics.End(Measured{
		Endpoint: kind, Method: r.Method, Status: status, Sent: w.bytes, Took: time.Since(r.start),
		Pushed: manifest && r.Method == http.MethodPut && status == http.StatusCreated,
		Pulled: manifest && r.Method == http.MethodGet && status == http.StatusOK,
	})
}

// show answers with the figures. Without metrics no path leads to it.
func show(metrics Metrics) handler {
	return func(w *response, r *request) error {
		if metrics == nil {
			return errNoEndpoint
		}

		metrics.ServeHTTP(w, r.Request)

		return nil
	}
}
