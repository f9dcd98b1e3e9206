package admin

import (
	"errors"

	"zotregistry.io/zot/pkg/storage"
)

// kinds are the errors that keep their meaning on their way over the socket.
var kinds = map[string]error{
	"name-invalid":     storage.ErrNameInvalid,
	"tag-invalid":      storage.ErrTagInvalid,
	"digest-invalid":   storage.ErrDigestInvalid,
	"repo-unknown":     storage.ErrRepoUnknown,
	"blob-unknown":     storage.ErrBlobUnknown,
	"manifest-unknown": storage.ErrManifestUnknown,
	"in-use":           storage.ErrInUse,
	"precondition":     storage.ErrPrecondition,
	"damaged":          storage.ErrDamaged,
	"format":           storage.ErrFormat,
	"forgotten":        storage.ErrForgotten,
	"too-early":        storage.ErrTooEarly,
	"checking":         storage.ErrChecking,
	"unavailable":      storage.ErrUnavailable,
}

// failure is the body of an answer that is an error.
type failure struct {
	Kinds   []string `json:"kinds"` // keys of kinds
	Message string   `json:"message"`
}

func failureOf(err error) failure {
	told := failure{Kinds: []string{}, Message: err.Error()}

	for name, kind := range kinds {
		if errors.Is(err, kind) {
			told.Kinds = append(told.Kinds, name)
		}
	}

	return told
}

// RemoteError is what the process that was asked has answered. It matches the errors of
// pkg/storage that the original did.
type RemoteError struct{ told failure }

func (e *RemoteError) Error() string { return e.told.Message }

// Unwrap returns what the error matches.
func (e *RemoteError) Unwrap() []error {
	var matched []error

	for _, name := range e.told.Kinds {
		if kind, ok := kinds[name]; ok {
			matched = append(matched, kind)
		}
	}

	return matched
}
