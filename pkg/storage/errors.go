package storage

import (
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage/cache"
)

// What a caller may test for with errors.Is. pkg/api has the table that maps each to
// a status and an OCI error code.
var (
	ErrNameInvalid    = errors.New("invalid repository name")
	ErrTagInvalid     = errors.New("invalid tag")
	ErrDigestInvalid  = errors.New("invalid digest")
	ErrDigestMismatch = errors.New("digest does not match the content")
	ErrSize           = errors.New("length does not match the content")
	ErrRange          = errors.New("range not satisfiable")

	ErrRepoUnknown     = errors.New("repository not known")
	ErrBlobUnknown     = errors.New("blob not known")
	ErrManifestUnknown = errors.New("manifest not known")
	ErrUploadUnknown   = errors.New("upload not known")
	ErrUploadBusy      = errors.New("another request is writing to this upload")

	ErrInUse        = errors.New("still in use")
	ErrPrecondition = errors.New("precondition failed")

	// ErrTagChange: a tag would be made or moved that is not to be.
	ErrTagChange = errors.New("tag may not be changed")

	// ErrManyTags: more than one tag points to what was to be deleted.
	ErrManyTags = errors.New("several tags point to it")

	// ErrDamaged: what is stored, or was to be stored, is not what it should be. It
	// is our fault, never the client's.
	ErrDamaged = errors.New("damaged")

	// ErrFormat: the root or bucket was written by a newer zot.
	ErrFormat = errors.New("format not known")

	// ErrConflict: another writer appended to the log first. The engine reads what
	// it wrote and tries again.
	ErrConflict = errors.New("another writer was first")

	// ErrLogLost: what a log had written is not there any more. The engine writes a
	// checkpoint from what it knows, and tries again.
	ErrLogLost = errors.New("log is not as it was left")

	// ErrForgotten: what was deleted cannot be brought back any more.
	ErrForgotten = errors.New("cannot be brought back")

	// ErrTooEarly: it cannot be known yet what clients count on.
	ErrTooEarly = errors.New("too early")

	// ErrUnavailable: what keeps the bytes cannot be reached, or is overloaded. What was
	// asked for happened whole or not at all; to try again later is safe.
	ErrUnavailable = errors.New("storage is not available")

	// ErrChecking: another check of the store is under way.
	ErrChecking = errors.New("a check is under way")

	// ErrUploadLost: an upload has lost bytes that it had said were kept. It goes on
	// from what was saved.
	ErrUploadLost = errors.New("upload has lost bytes")

	// ErrCacheMiss: a cache does not know a digest.
	ErrCacheMiss = cache.ErrMiss

	// ErrCachePair: a cache cannot keep a pair, whatever is tried.
	ErrCachePair = cache.ErrPair
)

// QuotaError is returned when a push does not fit in a quota. Nothing has changed.
type QuotaError struct {
	Prefix RepoName // "" = all of the store
	Unit   string   // "bytes" or "repositories"

	Limit, Used, Asked int64 // Asked is what would be added
}

func (e *QuotaError) Error() string {
	whose := "the registry"
	if e.Prefix != "" {
		whose = string(e.Prefix)
	}

	return fmt.Sprintf("the quota of %s is %d %s: %d are used, and this would add %d", whose, e.Limit, e.Unit, e.Used, e.Asked)
}

// OffsetError is returned when a chunk does not start where the upload ends.
type OffsetError struct {
	Have int64 // bytes kept so far; the client must continue here
	Got  int64 // offset the client named
}

func (e *OffsetError) Error() string {
	return fmt.Sprintf("chunk starts at %d, but the upload is %d bytes long", e.Got, e.Have)
}

// ManifestError is returned when bytes are not a manifest that zot takes.
type ManifestError struct {
	Field  string // path of the field that is wrong, as "layers[2].digest"; "" = the whole
	Reason string
}

func (e *ManifestError) Error() string {
	if e.Field == "" {
		return "invalid manifest: " + e.Reason
	}

	return fmt.Sprintf("invalid manifest: %s: %s", e.Field, e.Reason)
}

// MissingError is returned when a manifest names what its repository does not hold,
// or holds with another size.
type MissingError struct {
	Digests []digest.Digest
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("manifest names %d blobs or manifests that the repository does not hold, the first is %s",
		len(e.Digests), e.Digests[0])
}

// HeldError is returned when manifests name what is to be purged. It matches ErrInUse.
type HeldError struct {
	Repo    RepoName
	Digest  digest.Digest
	Holders []digest.Digest // manifests
}

func (e *HeldError) Error() string {
	names := make([]string, len(e.Holders))
	for i, holder := range e.Holders {
		names[i] = holder.String()
	}

	return fmt.Sprintf("%s: in %s it is named by %s", ErrInUse, e.Repo, strings.Join(names, ", "))
}

// Unwrap says what it matches.
func (e *HeldError) Unwrap() error { return ErrInUse }
