package api

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
)

// absent is a registry without any repository. Whoever may not read one is answered from it,
// by the same handlers: so it looks like one that does not exist, to the last byte. It is
// asked for nothing but what GET and HEAD of a repository ask for.
type absent struct{ Registry }

// StatBlob implements storage.Blobs.
func (absent) StatBlob(_ context.Context, _ storage.RepoName, dgst digest.Digest) (int64, error) {
	return 0, noBlob(dgst)
}

// OpenBlob implements storage.Blobs.
func (absent) OpenBlob(
	_ context.Context, _ storage.RepoName, dgst digest.Digest, _ storage.Range,
) (*storage.Object, error) {
	return nil, noBlob(dgst)
}

// BlobURL implements storage.Blobs.
func (absent) BlobURL(_ context.Context, _ storage.RepoName, dgst digest.Digest) (string, error) {
	return "", noBlob(dgst)
}

// noBlob is what a store says.
func noBlob(dgst digest.Digest) error { return fmt.Errorf("%w: %s", storage.ErrBlobUnknown, dgst) }

// StatUpload implements storage.Uploads.
func (absent) StatUpload(context.Context, storage.RepoName, string) (storage.UploadStatus, error) {
	return storage.UploadStatus{}, storage.ErrUploadUnknown
}

// StatManifest implements storage.Manifests.
func (absent) StatManifest(context.Context, storage.RepoName, storage.Reference) (storage.Descriptor, error) {
	return storage.Descriptor{}, storage.ErrRepoUnknown
}

// GetManifest implements storage.Manifests.
func (absent) GetManifest(context.Context, storage.RepoName, storage.Reference) (storage.Manifest, error) {
	return storage.Manifest{}, storage.ErrRepoUnknown
}

// ListTags implements storage.Tags.
func (absent) ListTags(context.Context, storage.RepoName, storage.Tag, int) ([]storage.Tag, bool, error) {
	return nil, false, storage.ErrRepoUnknown
}

// ListReferrers implements storage.Referrers.
func (absent) ListReferrers(
	context.Context, storage.RepoName, storage.ReferrerQuery,
) ([]storage.Descriptor, bool, error) {
	return nil, false, nil
}

// TagHistory implements storage.History.
func (absent) TagHistory(
	context.Context, storage.RepoName, storage.Tag, uint64, int,
) ([]storage.TagEvent, bool, error) {
	return nil, false, storage.ErrRepoUnknown
}
