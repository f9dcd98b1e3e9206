package storage

import (
	"strings"

	"github.com/opencontainers/go-digest"
)

// Every key below a root is built here. docs/local-format.md shows them in a tree.
const (
	reposPrefix   = "_repos/"       // the catalog: one empty object per repository
	damagedPrefix = "_damaged/"     // one empty object per blob that must not be served
	flushFailed   = "_flush-failed" // an empty object, written when a flush to disk fails
)

// RepoPrefix is what all keys of a repository start with.
func RepoPrefix(repo RepoName) string { return string(repo) + "/" }

// BlobKey is where a blob or manifest of a repository lies.
func BlobKey(repo RepoName, dgst digest.Digest) string {
	return string(repo) + "/blobs/" + dgst.Algorithm().String() + "/" + dgst.Encoded()
}

// uploadKey is where an upload's bytes lie until it is finished.
func uploadKey(repo RepoName, id string) string { return string(repo) + "/.uploads/" + id }

// splitBlobKey is the inverse of BlobKey.
func splitBlobKey(key string) (RepoName, digest.Digest, bool) {
	repo, rest, ok := cutLast(key, "/blobs/")
	if !ok {
		return "", "", false
	}

	alg, hex, ok := strings.Cut(rest, "/")
	if !ok {
		return "", "", false
	}

	name, err := ParseRepoName(repo)
	if err != nil {
		return "", "", false
	}

	dgst, err := ParseDigest(alg + ":" + hex)

	return name, dgst, err == nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}

	return s, "", false
}

// catalogKey is the catalog's entry for a repository. Slashes are escaped, so that
// the list is one flat directory: a repository may have others below it.
func catalogKey(repo RepoName) string {
	return reposPrefix + strings.ReplaceAll(string(repo), "/", ":")
}

func damagedKey(blobKey string) string { return damagedPrefix + blobKey }

func splitDamagedKey(key string) string { return strings.TrimPrefix(key, damagedPrefix) }

func splitCatalogKey(key string) (RepoName, error) {
	return ParseRepoName(strings.ReplaceAll(strings.TrimPrefix(key, reposPrefix), ":", "/"))
}
