package api

import (
	"crypto/rand"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"zotregistry.io/zot/internal/printable"
)

// outcome is the status of an answer: that which was sent, or would have been if it had not
// been too late.
func outcome(w *response, err error) int {
	if err != nil {
		return problemOf(err).status
	}

	if w.status == 0 { // net/http answers for us
		return http.StatusOK
	}

	return w.status
}

// logRequest writes the one line of a request. The query is left out: it may hold
// what is secret.
func (s *Server) logRequest(w *response, r *request, status int, err error) {
	event := s.log.WithLevel(logLevel(r, status))
	if event == nil {
		return
	}

	if err != nil {
		event = withError(event, err)
	}

	event.Str("method", shown(r.Method)).Str("path", shown(r.URL.Path)).
		Int("status", status).Int64("bytes", w.bytes).
		Dur("duration", time.Since(r.start)).
		Str("user", r.user.Name).Str("remote", r.RemoteAddr).
		Str("request", r.id).Msg("request")
}

func withError(event *zerolog.Event, err error) *zerolog.Event {
	event = event.Str(zerolog.ErrorFieldName, shown(err.Error()))

	var crash *panicError
	if errors.As(err, &crash) {
		event = event.Bytes("stack", crash.stack)
	}

	return event
}

// maxShown bounds what is repeated of a request in logs and answers, in bytes: no path of anything
// that zot has is longer, and what a client sends is not made many times as much.
const maxShown = 1 << 10

func shown(text string) string { return printable.Shorten(text, maxShown) }

// logLevel is error for what a person should look at.
func logLevel(r *request, status int) zerolog.Level {
	switch {
	case r.endpoint.health():
		return zerolog.DebugLevel
	case status >= http.StatusInternalServerError && status != http.StatusServiceUnavailable:
		return zerolog.ErrorLevel
	case status == http.StatusServiceUnavailable:
		return zerolog.WarnLevel
	}

	return zerolog.InfoLevel
}

// requestIDHeader has the name of a request, where it comes from a proxy, and where it is answered
// with an error or changes something.
const requestIDHeader = "X-Request-Id"

// requestIDs gives each request a name: that of the proxy before us, or one that is
// unique over all processes.
type requestIDs struct {
	process string
	last    atomic.Uint64
}

func newRequestIDs() *requestIDs { return &requestIDs{process: rand.Text()[:8]} }

// maxRequestID bounds what is taken from a proxy, in characters.
const maxRequestID = 64

func (ids *requestIDs) of(r *http.Request) string {
	if id := r.Header.Get(requestIDHeader); id != "" && len(id) <= maxRequestID && plainText(id) {
		return id
	}

	var id [32]byte

	return string(strconv.AppendUint(append(append(id[:0], ids.process...), '-'), ids.last.Add(1), 36))
}

// plainText says whether s has nothing that could mean something in a header or log.
func plainText(s string) bool {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."

	return strings.Trim(s, plain) == ""
}
