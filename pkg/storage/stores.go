package storage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Stores are the default image store and those of the sub-paths. It plays all the
// roles of storage.go, each with the store that a repository belongs to.
type Stores struct {
	standard *Store
	sub      map[string]*Store // by prefix: "/a"
}

// NewStores joins stores. The repositories below a prefix ("/a": "a/b", and "a/b/c",
// but not "a") belong to its store in sub, the longest prefix first, and all others
// to standard. Close closes all of them.
func NewStores(standard *Store, sub map[string]*Store) *Stores {
	return &Stores{standard: standard, sub: sub}
}

// of returns the store that a repository belongs to.
func (s *Stores) of(repo RepoName) *Store {
	if store, ok := s.sub[SubPathOf(s.sub, repo)]; ok {
		return store
	}

	return s.standard
}

// SubPathOf returns which of the sub-paths ("/a/b") a repository is below, the longest; "" = none.
func SubPathOf[T any](subs map[string]T, repo RepoName) string {
	if len(subs) == 0 {
		return ""
	}

	path := "/" + string(repo)
	for path != "" {
		path = path[:strings.LastIndexByte(path, '/')]
		if _, ok := subs[path]; ok {
			return path
		}
	}

	return ""
}

// Close closes all stores.
func (s *Stores) Close(ctx context.Context) error {
	errs := []error{s.standard.Close(ctx)}
	for _, store := range s.sub {
		errs = append(errs, store.Close(ctx))
	}

	return errors.Join(errs...)
}

// StatBlob implements Blobs.
func (s *Stores) StatBlob(ctx context.Context, repo RepoName, dgst digest.Digest) (int64, error) {
	return s.of(repo).StatBlob(ctx, repo, dgst)
}

// OpenBlob implements Blobs.
func (s *Stores) OpenBlob(ctx context.Context, repo RepoName, dgst digest.Digest, rng Range) (*Object, error) {
	return s.of(repo).OpenBlob(ctx, repo, dgst, rng)
}

// BlobURL implements Blobs.
func (s *Stores) BlobURL(ctx context.Context, repo RepoName, dgst digest.Digest) (string, error) {
	return s.of(repo).BlobURL(ctx, repo, dgst)
}

// DeleteBlob implements Blobs.
func (s *Stores) DeleteBlob(ctx context.Context, repo RepoName, dgst digest.Digest, who string) error {
	return s.of(repo).DeleteBlob(ctx, repo, dgst, who)
}

// MountBlob implements Blobs. Nothing is mounted from another store.
func (s *Stores) MountBlob(ctx context.Context, repo RepoName, dgst digest.Digest, from RepoName, who string) error {
	if s.of(repo) != s.of(from) {
		return fmt.Errorf("%w: %s and %s are in different stores", ErrBlobUnknown, from, repo)
	}

	return s.of(repo).MountBlob(ctx, repo, dgst, from, who)
}

// FindBlob implements Blobs.
func (s *Stores) FindBlob(ctx context.Context, repo RepoName, dgst digest.Digest) []RepoName {
	return s.of(repo).FindBlob(ctx, repo, dgst)
}

// StartUpload implements Uploads.
func (s *Stores) StartUpload(ctx context.Context, repo RepoName, alg digest.Algorithm) (UploadStatus, error) {
	return s.of(repo).StartUpload(ctx, repo, alg)
}

// StatUpload implements Uploads.
func (s *Stores) StatUpload(ctx context.Context, repo RepoName, id string) (UploadStatus, error) {
	return s.of(repo).StatUpload(ctx, repo, id)
}

// AppendUpload implements Uploads.
func (s *Stores) AppendUpload(ctx context.Context, repo RepoName, id string, chunk Chunk) (UploadStatus, error) {
	return s.of(repo).AppendUpload(ctx, repo, id, chunk)
}

// FinishUpload implements Uploads.
func (s *Stores) FinishUpload(
	ctx context.Context, repo RepoName, id string, chunk Chunk, dgst digest.Digest, who string,
) (int64, error) {
	return s.of(repo).FinishUpload(ctx, repo, id, chunk, dgst, who)
}

// CancelUpload implements Uploads.
func (s *Stores) CancelUpload(ctx context.Context, repo RepoName, id string) error {
	return s.of(repo).CancelUpload(ctx, repo, id)
}

// StatManifest implements Manifests.
func (s *Stores) StatManifest(ctx context.Context, repo RepoName, ref Reference) (Descriptor, error) {
	return s.of(repo).StatManifest(ctx, repo, ref)
}

// GetManifest implements Manifests.
func (s *Stores) GetManifest(ctx context.Context, repo RepoName, ref Reference) (Manifest, error) {
	return s.of(repo).GetManifest(ctx, repo, ref)
}

// PutManifest implements Manifests.
func (s *Stores) PutManifest(ctx context.Context, put ManifestPut) (Descriptor, error) {
	return s.of(put.Repo).PutManifest(ctx, put)
}

// DeleteManifest implements Manifests.
func (s *Stores) DeleteManifest(ctx context.Context, repo RepoName, ref Reference, cond Precondition, who string) error {
	return s.of(repo).DeleteManifest(ctx, repo, ref, cond, who)
}

// ListTags implements Tags.
func (s *Stores) ListTags(ctx context.Context, repo RepoName, after Tag, n int) ([]Tag, bool, error) {
	return s.of(repo).ListTags(ctx, repo, after, n)
}

// ListReferrers implements Referrers.
func (s *Stores) ListReferrers(ctx context.Context, repo RepoName, query ReferrerQuery) ([]Descriptor, bool, error) {
	return s.of(repo).ListReferrers(ctx, repo, query)
}

// Why implements Maintenance.
func (s *Stores) Why(ctx context.Context, repo RepoName, dgst digest.Digest) (Explanation, error) {
	return s.of(repo).Why(ctx, repo, dgst)
}

// ListRepos implements Catalog. A repository that lies in a store that it does not
// belong to, because subPaths were changed, is not listed.
func (s *Stores) ListRepos(ctx context.Context, after RepoName, n int) ([]RepoName, bool, error) {
	if len(s.sub) == 0 {
		return s.standard.ListRepos(ctx, after, n)
	}

	var all []RepoName

	for _, store := range append(slices.Collect(maps.Values(s.sub)), s.standard) {
		repos, err := s.listOwn(ctx, store, after, n)
		if err != nil {
			return nil, false, err
		}

		all = append(all, repos...)
	}

	slices.Sort(all)

	if n >= 0 && len(all) > n {
		return all[:n], true, nil
	}

	return all, false, nil
}

// listOwn lists the first repositories in store that belong to it: one more than n,
// which tells that there are more; all if n < 0.
func (s *Stores) listOwn(ctx context.Context, store *Store, after RepoName, n int) ([]RepoName, error) {
	var own []RepoName

	for more := true; more && (n < 0 || len(own) <= n); {
		var (
			repos []RepoName
			err   error
		)

		if repos, more, err = store.ListRepos(ctx, after, pageSize(n)); err != nil {
			return nil, err
		}

		for _, name := range repos {
			after = name

			if s.of(name) == store {
				own = append(own, name)
			}
		}
	}

	return own, nil
}

// pageSize is n and one more; what is negative, for all, stays so.
func pageSize(n int) int {
	if n < 0 {
		return n
	}

	return n + 1
}
