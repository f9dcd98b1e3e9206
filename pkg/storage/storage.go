// Package storage keeps images: blobs, manifests and tags, in repositories, over
// any Driver.
//
// Read this file first: it is the vocabulary, the six roles that a Store plays.
// driver.go says what a Driver must do, cache.go what a Cache may do, and
// docs/life-of-a-push.md walks through all of it with one push.
//
// Two kinds of state are kept apart. Blobs and each repository's journal are the
// truth. Everything else (the Cache, the catalog list) is a projection: it may be
// deleted while zot serves, and is rebuilt.
package storage

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"
)

// Blobs reads, deletes and mounts blobs.
type Blobs interface {
	// StatBlob returns the size of a blob that repo holds.
	//
	// Errors: ErrBlobUnknown.
	StatBlob(ctx context.Context, repo RepoName, dgst digest.Digest) (int64, error)

	// OpenBlob opens the bytes of rng for reading; the caller closes the Object.
	// Object.Size is that of the whole blob.
	//
	// Errors: ErrBlobUnknown; ErrRange if rng starts behind the end; ErrDamaged if
	// the stored size is not what a manifest says.
	OpenBlob(ctx context.Context, repo RepoName, dgst digest.Digest, rng Range) (*Object, error)

	// BlobURL returns a URL from which a client can read the blob by itself for some
	// minutes, ranges too; "" if it has to be read from here.
	//
	// Errors: ErrBlobUnknown.
	BlobURL(ctx context.Context, repo RepoName, dgst digest.Digest) (string, error)

	// DeleteBlob hides a blob at once; its bytes go later.
	//
	// Errors: ErrBlobUnknown; ErrInUse if a manifest of repo names it.
	DeleteBlob(ctx context.Context, repo RepoName, dgst digest.Digest, who string) error

	// MountBlob makes a blob of another repository visible in repo, without its
	// bytes being sent. Whether the caller may read from is the caller's business.
	//
	// Errors: ErrBlobUnknown if from does not hold it, or it cannot be shared
	// between the two (another store).
	MountBlob(ctx context.Context, repo RepoName, dgst digest.Digest, from RepoName, who string) error

	// FindBlob lists repositories from which dgst may be mounted into repo: repo
	// itself if it holds it, else those that the cache knows. It is a hint: MountBlob
	// finds out. No scan is ever made.
	FindBlob(ctx context.Context, repo RepoName, dgst digest.Digest) []RepoName
}

// Chunk is a piece of an upload's bytes.
type Chunk struct {
	Body   io.Reader // nil = nothing to add
	Offset int64     // where it starts in the blob; -1 = where the upload ends
	Length int64     // bytes announced; -1 = unknown, up to the end of Body
	Seen   int64     // how long the client was last told the upload is; -1 = unknown
}

// UploadStatus is where an upload stands.
type UploadStatus struct {
	ID   string // a UUID
	Size int64  // bytes kept so far: the offset to go on at

	// Shared: the next request may go to another process. A client should then come
	// back with Size (Chunk.Seen); without, it costs a look at what is kept.
	Shared bool
}

// Uploads takes a blob's bytes in. An upload survives a restart.
//
// Errors of all but StartUpload: ErrUploadUnknown if id was never started in repo,
// has ended or has expired.
type Uploads interface {
	// StartUpload begins an upload; alg is the digest algorithm it will be closed
	// with ("" = sha256).
	StartUpload(ctx context.Context, repo RepoName, alg digest.Algorithm) (UploadStatus, error)

	// StatUpload returns where an upload stands.
	StatUpload(ctx context.Context, repo RepoName, id string) (UploadStatus, error)

	// AppendUpload adds a chunk. What arrived before a broken connection is kept.
	//
	// Errors: *OffsetError, with nothing read; ErrSize if Body was not Length long;
	// ErrUploadBusy if another request is appending.
	AppendUpload(ctx context.Context, repo RepoName, id string, chunk Chunk) (UploadStatus, error)

	// FinishUpload adds the last chunk (often empty, or the whole blob), verifies
	// the bytes against dgst, and makes the blob visible in repo. The bytes survive
	// kill -9 when it returns; a power cut once a manifest that names them is
	// committed. It returns the blob's size.
	//
	// Errors: those of AppendUpload; ErrDigestMismatch: the upload is gone if the
	// chunk had bytes, and kept if it had none.
	FinishUpload(ctx context.Context, repo RepoName, id string, chunk Chunk, dgst digest.Digest, who string) (int64, error)

	// CancelUpload ends an upload and drops its bytes.
	CancelUpload(ctx context.Context, repo RepoName, id string) error
}

// Manifest is a manifest as it was pushed, byte for byte.
type Manifest struct {
	Descriptor
	Body []byte // read only: it may be shared
}

// ManifestPut is a manifest to be committed under a digest and any number of tags,
// all or nothing.
type ManifestPut struct {
	Repo      RepoName
	Digest    digest.Digest // "" = the sha256 of Body
	Tags      []Tag
	MediaType string // from Content-Type; "" = what Body says
	Body      []byte
	Who       string
	If        Precondition // holds for each of Tags
}

// Precondition guards a change to a tag; the zero value always holds. The first four fields
// have the meaning of the HTTP headers of that name, with the digest as the entity
// tag (RFC 9110, 13.1.1 and 13.1.2). The others are what the user may not do, and come first.
type Precondition struct {
	Match     []digest.Digest // the tag must point to one of these
	MatchAny  bool            // If-Match: *      the tag must exist
	NoneMatch []digest.Digest // the tag must point to none of these
	NoneAny   bool            // If-None-Match: * the tag must not exist

	NoNew  bool // no tag is made
	NoMove bool // no tag that exists is made to point to another manifest
	OneTag bool // no manifest is deleted that more than one tag points to
}

// Manifests reads, commits and deletes manifests and the tags that point to them.
type Manifests interface {
	// StatManifest resolves ref without reading the manifest.
	//
	// Errors: ErrRepoUnknown, ErrManifestUnknown, ErrDamaged.
	StatManifest(ctx context.Context, repo RepoName, ref Reference) (Descriptor, error)

	// GetManifest returns the manifest that ref names.
	//
	// Errors: as StatManifest.
	GetManifest(ctx context.Context, repo RepoName, ref Reference) (Manifest, error)

	// PutManifest commits a manifest. When it returns nil, the image, which is all
	// that the manifest names, survives a power cut (unless the store was opened
	// without commit). The descriptor returned has Subject set if the manifest has
	// a subject.
	//
	// Errors: *ManifestError if Body is not a manifest; *MissingError if it names
	// blobs or manifests that repo does not hold, or holds with another size;
	// ErrDigestMismatch; ErrTagChange; ErrPrecondition; ErrDamaged if a flush failed.
	PutManifest(ctx context.Context, put ManifestPut) (Descriptor, error)

	// DeleteManifest deletes a tag, or a manifest with all tags that point to it.
	//
	// Errors: ErrRepoUnknown, ErrManifestUnknown, ErrPrecondition, ErrManyTags; ErrInUse
	// if an index in repo names the manifest.
	DeleteManifest(ctx context.Context, repo RepoName, ref Reference, cond Precondition, who string) error
}

// Tags lists the tags of a repository.
type Tags interface {
	// ListTags returns up to n tags after the tag named, in byte order, and whether
	// there are more. n < 0 = all.
	//
	// Errors: ErrRepoUnknown.
	ListTags(ctx context.Context, repo RepoName, after Tag, n int) (tags []Tag, more bool, err error)
}

// ReferrerQuery selects referrers.
type ReferrerQuery struct {
	Subject      digest.Digest
	ArtifactType string        // "" = all
	After        digest.Digest // the last one of the page before
	MaxBytes     int           // of the descriptors as JSON; a page has at least one
}

// Referrers lists the manifests that name another as their subject.
type Referrers interface {
	// ListReferrers returns a page of descriptors ordered by digest, annotations
	// read from the manifests, and whether there are more. A repository or subject
	// that is not there has none.
	ListReferrers(ctx context.Context, repo RepoName, query ReferrerQuery) (page []Descriptor, more bool, err error)
}

// Catalog lists repositories.
type Catalog interface {
	// ListRepos returns up to n repositories after the one named, in byte order,
	// and whether there are more. n < 0 = all.
	ListRepos(ctx context.Context, after RepoName, n int) (repos []RepoName, more bool, err error)
}

// History tells what has happened to tags.
type History interface {
	// TagHistory returns up to n events of a tag, the newest first, of records below number
	// before (0 = from the newest on), and whether there are more. n < 0 = all. It goes
	// back as far as records are kept (GC.History).
	//
	// Errors: ErrRepoUnknown; ErrManifestUnknown if nothing is known of the tag.
	TagHistory(ctx context.Context, repo RepoName, tag Tag, before uint64, n int) (events []TagEvent, more bool, err error)
}

// Restored is what was brought back.
type Restored struct {
	Manifests []digest.Digest `json:"manifests"`
	Tags      []Tag           `json:"tags"`
	Taken     []Tag           `json:"taken"` // tags that point elsewhere by now, and do so still
}

// Recovery takes back what was done by mistake. All is checked before: what is brought back
// is there whole.
type Recovery interface {
	// UndoTag takes back the last change of a tag: it points to what it pointed to before,
	// or is gone if there was nothing. A manifest that was deleted is restored. To do so
	// once more takes back the undo. It returns the event that it makes.
	//
	// Errors: ErrRepoUnknown, ErrManifestUnknown; ErrForgotten if what was before cannot be
	// brought back; ErrDamaged if some of its bytes are missing.
	UndoTag(ctx context.Context, repo RepoName, tag Tag, who string) (TagEvent, error)

	// Undelete brings back a manifest, with the tags that went with it, unless those exist
	// by now, and the children that an index needs. dgst "" is all that the last deletion of
	// the repository took.
	//
	// Errors: as UndoTag.
	Undelete(ctx context.Context, repo RepoName, dgst digest.Digest, who string) (Restored, error)

	// DeleteRepo deletes all manifests and tags of a repository. They can be brought back
	// for a while.
	//
	// Errors: ErrRepoUnknown.
	DeleteRepo(ctx context.Context, repo RepoName, who string) error
}

// PurgeOptions say how far a purge goes.
type PurgeOptions struct {
	Force      bool // manifests that name what is to be purged go, too, and their tags
	Everywhere bool // from all repositories of the store
}

// Purged is what a purge has done.
type Purged struct {
	Manifests []digest.Digest `json:"manifests"` // that are gone
	Tags      []Tag           `json:"tags"`      // that went with them
	Blobs     []digest.Digest `json:"blobs"`     // whose bytes are gone, those of the manifests as well
	Repos     []RepoName      `json:"repositories"`
	Others    []RepoName      `json:"others"` // that still hold the digest
}

// Purger removes what must not be there any more.
type Purger interface {
	// Purge removes a manifest, with the blobs that only it names, or a blob, at once: in
	// spite of what clients count on, of history, and of what could be brought back.
	//
	// Errors: ErrBlobUnknown if repo does not hold it; *HeldError without Force.
	Purge(ctx context.Context, repo RepoName, dgst digest.Digest, opts PurgeOptions, who string) (Purged, error)
}

// Maintenance is what administrators ask for.
type Maintenance interface {
	// Collect removes what nobody needs (docs/gc.md), as is done from time to time anyway.
	//
	// Errors: ErrTooEarly less than GC.Delay after the start.
	Collect(ctx context.Context) (Collected, error)

	// Why says why repo keeps a manifest or a blob, or when that goes: what Collect
	// would find now.
	//
	// Errors: ErrRepoUnknown; ErrBlobUnknown if nothing of that digest is there.
	Why(ctx context.Context, repo RepoName, dgst digest.Digest) (Explanation, error)
}

// Checker looks whether what is kept is what the formats say (docs/fsck.md). check.go has
// its vocabulary.
type Checker interface {
	// Check looks at everything, and tells progress of each finding, and of how far it is.
	// What it finds damaged is not served from then on. It goes on where the last one was
	// broken off, unless opts say otherwise. It may be called while others use the store.
	//
	// Errors: ErrChecking if a check is under way; others if it cannot go on.
	Check(ctx context.Context, opts CheckOptions, progress func(CheckProgress)) (CheckReport, error)

	// Scrub reads all blobs again, and marks those that are damaged.
	//
	// Errors: as Check.
	Scrub(ctx context.Context, opts ScrubOptions, progress func(CheckProgress)) (CheckReport, error)
}
