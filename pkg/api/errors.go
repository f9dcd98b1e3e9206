package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	"zotregistry.io/zot/pkg/auth"
	"zotregistry.io/zot/pkg/storage"
)

// Errors of requests that never reach a role.
var (
	errNoEndpoint  = errors.New("no such endpoint")
	errMethod      = errors.New("method not allowed")
	errQuery       = errors.New("invalid query")
	errHeader      = errors.New("invalid header")
	errTooLarge    = errors.New("manifest is too large")
	errTooManyTags = errors.New("too many tags")
	errTagName     = errors.New("not a name for a tag")
	errDenied      = errors.New("denied")
)

// statusClientGone stands in the log for a client that left; no one sees it. The
// number is nginx's.
const statusClientGone = 499

// maxProblems is how many digests of a MissingError are told.
const maxProblems = 100

// problem is what a client is told of an error: a status, and a code of the
// distribution-spec ("Error Codes").
type problem struct {
	status int
	code   string
}

// unknown is our own fault: the spec lists codes for 4xx only.
var unknown = problem{http.StatusInternalServerError, "UNKNOWN"}

// problems maps errors to what a client is told. The first row that matches counts.
// The spec has no code for some: those get the nearest.
var problems = []struct {
	match func(error) bool
	problem
}{
	{clientGone, problem{statusClientGone, "UNKNOWN"}},
	{bodyFails(os.ErrDeadlineExceeded), problem{http.StatusRequestTimeout, "BLOB_UPLOAD_INVALID"}},
	{bodyFails(io.ErrUnexpectedEOF), problem{http.StatusBadRequest, "SIZE_INVALID"}},
	{as[*bodyError], problem{http.StatusBadRequest, "BLOB_UPLOAD_INVALID"}},

	{is(errNoEndpoint), problem{http.StatusNotFound, "UNSUPPORTED"}},
	{is(errMethod), problem{http.StatusMethodNotAllowed, "UNSUPPORTED"}},
	{is(auth.ErrUnauthorized), problem{http.StatusUnauthorized, "UNAUTHORIZED"}},
	{as[*auth.TooManyError], problem{http.StatusTooManyRequests, "TOOMANYREQUESTS"}},
	{as[*placesError], problem{http.StatusTooManyRequests, "TOOMANYREQUESTS"}},
	{as[*limitError], problem{http.StatusTooManyRequests, "TOOMANYREQUESTS"}},
	{is(errDenied), problem{http.StatusForbidden, "DENIED"}},
	{is(auth.ErrKeyUnknown), problem{http.StatusNotFound, "UNSUPPORTED"}},
	{is(auth.ErrKeyInvalid), problem{http.StatusBadRequest, "UNSUPPORTED"}},
	{is(auth.ErrCrossOrigin), problem{http.StatusForbidden, "DENIED"}},
	{is(auth.ErrLoginRefused), problem{http.StatusForbidden, "DENIED"}},
	{is(auth.ErrLoginInvalid), problem{http.StatusBadRequest, "UNSUPPORTED"}},
	{is(errKeyRequest), problem{http.StatusBadRequest, "UNSUPPORTED"}},
	{is(auth.ErrUnavailable), problem{http.StatusServiceUnavailable, "UNKNOWN"}},
	{is(errBusy), problem{http.StatusConflict, "UNSUPPORTED"}},
	{is(errQuery), problem{http.StatusBadRequest, "UNSUPPORTED"}},
	{is(errHeader), problem{http.StatusBadRequest, "UNSUPPORTED"}},
	{is(errTooLarge), problem{http.StatusRequestEntityTooLarge, "SIZE_INVALID"}},
	{is(errTooManyTags), problem{http.StatusRequestURITooLong, "UNSUPPORTED"}},
	{is(errTagName), problem{http.StatusBadRequest, "MANIFEST_INVALID"}},

	{noRoom, problem{http.StatusInsufficientStorage, "UNKNOWN"}},
	{noFiles, problem{http.StatusServiceUnavailable, "UNKNOWN"}},

	{as[*storage.QuotaError], problem{http.StatusForbidden, "DENIED"}},
	{as[*storage.OffsetError], problem{http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID"}},
	{as[*storage.MissingError], problem{http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN"}},
	{as[*storage.ManifestError], problem{http.StatusBadRequest, "MANIFEST_INVALID"}},

	{is(storage.ErrNameInvalid), problem{http.StatusBadRequest, "NAME_INVALID"}},
	{is(storage.ErrTagInvalid), problem{http.StatusNotFound, "MANIFEST_UNKNOWN"}},
	{is(storage.ErrDigestInvalid), problem{http.StatusBadRequest, "DIGEST_INVALID"}},
	{is(storage.ErrDigestMismatch), problem{http.StatusBadRequest, "DIGEST_INVALID"}},
	{is(storage.ErrSize), problem{http.StatusBadRequest, "SIZE_INVALID"}},
	{is(storage.ErrRange), problem{http.StatusRequestedRangeNotSatisfiable, "SIZE_INVALID"}},
	{is(storage.ErrRepoUnknown), problem{http.StatusNotFound, "NAME_UNKNOWN"}},
	{is(storage.ErrBlobUnknown), problem{http.StatusNotFound, "BLOB_UNKNOWN"}},
	{is(storage.ErrManifestUnknown), problem{http.StatusNotFound, "MANIFEST_UNKNOWN"}},
	{is(storage.ErrUploadUnknown), problem{http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN"}},
	{is(storage.ErrUploadBusy), problem{http.StatusConflict, "BLOB_UPLOAD_INVALID"}},
	{is(storage.ErrInUse), problem{http.StatusMethodNotAllowed, "UNSUPPORTED"}},
	{is(storage.ErrTagChange), problem{http.StatusForbidden, "DENIED"}},
	{is(storage.ErrManyTags), problem{http.StatusConflict, "MANIFEST_INVALID"}},
	{is(storage.ErrPrecondition), problem{http.StatusPreconditionFailed, "DENIED"}},
	{is(storage.ErrConflict), problem{http.StatusServiceUnavailable, "UNKNOWN"}},
	{is(storage.ErrUnavailable), problem{http.StatusServiceUnavailable, "UNKNOWN"}},
}

// problemOf finds the row of an error; what is in none is our own fault.
func problemOf(err error) problem {
	for _, row := range problems {
		if row.match(err) {
			return row.problem
		}
	}

	return unknown
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func as[E error](err error) bool {
	var target E

	return errors.As(err, &target)
}

// bodyFails matches a request's body that broke with cause.
func bodyFails(cause error) func(error) bool {
	return func(err error) bool {
		var broken *bodyError

		return errors.As(err, &broken) && errors.Is(broken.err, cause)
	}
}

// clientGone says whether an error came of the client's leaving, or of its not
// taking what was sent.
func clientGone(err error) bool {
	var broken *bodyError
	if errors.As(err, &broken) {
		return errors.Is(broken.err, syscall.ECONNRESET)
	}

	return errors.Is(err, context.Canceled) || as[*sendError](err) && !sourceFault(err)
}

// noRoom says whether the disk is full, or what zot may use of it.
func noRoom(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// noFiles says whether as many files and connections are open as may be.
func noFiles(err error) bool { return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) }

// sourceFault says whether bytes could not be sent because they could not be read.
// For a file that sendfile(2) sends, the error number must tell.
func sourceFault(err error) bool {
	return as[*sourceError](err) || as[*fs.PathError](err) ||
		errors.Is(err, syscall.EIO) || errors.Is(err, syscall.ESTALE)
}

// errorBody is the body of an error: distribution-spec, "Error Codes".
type errorBody struct {
	Errors []errorEntry `json:"errors"`
}

type errorEntry struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Detail  any    `json:"detail,omitempty"`
}

// writeError tells the client about err, in place of an answer.
func writeError(w *response, r *request, err error) {
	p := problemOf(err)
	r.code = p.code
	w.set(requestIDHeader, r.id)

	switch {
	case p.status == http.StatusServiceUnavailable, errors.Is(err, storage.ErrUploadBusy):
		w.Header().Set("Retry-After", "1")
	case p.status == http.StatusRequestTimeout:
		w.Header().Set("Connection", "close")
	}

	if p.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(retryAfter(err).Seconds())))))
	}

	// What the handler had set for its answer does not describe this one.
	for _, name := range []string{"Etag", "Docker-Content-Digest", "Accept-Ranges"} {
		w.Header().Del(name)
	}

	data, failed := json.Marshal(errorBody{Errors: entries(p, r.id, err)})
	if failed != nil { // strings and numbers: it cannot
		data = []byte(`{"errors":[{"code":"UNKNOWN"}]}`)
	}

	// The log has the reason that the client gets no more: writing failed.
	_ = sendJSON(w, p.status, "application/json", data)
}

// retryAfter is when a client may try again that has sent too many requests.
func retryAfter(err error) time.Duration {
	var (
		logins   *auth.TooManyError
		requests *limitError
	)

	switch {
	case errors.As(err, &logins):
		return logins.RetryAfter
	case errors.As(err, &requests):
		return requests.after
	}

	return 0
}

// fault names a fault of ours in a word or two: what a person can mend without the log.
func fault(p problem, err error) string {
	switch {
	case noRoom(err):
		return "no space is left on the disk of the registry"
	case noFiles(err):
		return "the registry has too many open files"
	default:
		return http.StatusText(p.status)
	}
}

// messageOf is what an error says, unless that may name files of the server.
func messageOf(p problem, id string, err error) string {
	if as[*fs.PathError](err) || as[*os.LinkError](err) || as[*os.SyscallError](err) {
		return fmt.Sprintf("%s; the log of zot has more under request id %s", http.StatusText(p.status), id)
	}

	return shown(err.Error())
}

// entries says what went wrong. Of our own faults the client learns only the request
// id: messages may name files.
func entries(p problem, id string, err error) []errorEntry {
	if p.status >= http.StatusInternalServerError {
		text := fmt.Sprintf("%s; the log of zot has more under request id %s", fault(p, err), id)

		return []errorEntry{{Code: p.code, Message: text}}
	}

	var missing *storage.MissingError
	if !errors.As(err, &missing) {
		return []errorEntry{{Code: p.code, Message: messageOf(p, id, err), Detail: detailOf(err)}}
	}

	var all []errorEntry

	for _, dgst := range missing.Digests[:min(len(missing.Digests), maxProblems)] {
		text := "the repository does not hold " + dgst.String() + ", or holds it with another size"
		all = append(all, errorEntry{Code: p.code, Message: text, Detail: map[string]string{"digest": dgst.String()}})
	}

	return all
}

// detailOf is what travels with an error for a program to read; nil if nothing does.
func detailOf(err error) any {
	var (
		offset   *storage.OffsetError
		manifest *storage.ManifestError
	)

	switch {
	case errors.As(err, &offset):
		return map[string]int64{"offset": offset.Have}
	case errors.As(err, &manifest):
		return map[string]string{"field": manifest.Field, "reason": manifest.Reason}
	}

	return nil
}

// sendJSON sends a body whole.
func sendJSON(w *response, status int, mediaType string, data []byte) error {
	w.set("Content-Type", mediaType)
	w.set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)

	if _, err := w.Write(data); err != nil {
		return fmt.Errorf("send answer: %w", err)
	}

	return nil
}
