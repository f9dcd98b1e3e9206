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
	allFlushed    = "_all-flushed"  // an empty object, there while nobody serves a root all of which is on disk

	notesPrefix = "_notes/" // what those above keep beside the images

	quarantinePrefix = "_quarantine/" // what a repair has put aside: a time, then the key
	checkPrefix      = "_check/"
	checkPosition    = "_check/fsck.json"  // how far a check has come
	scrubPosition    = "_check/scrub.json" // the same of a scrub
	scrubbed         = "_check/scrubbed"   // an empty object, written when a scrub has read everything
)

// RepoPrefix is what all keys of a repository start with.
func RepoPrefix(repo RepoName) string { return string(repo) + "/" }

// BlobKey is where a blob or manifest of a repository lies.
func BlobKey(repo RepoName, dgst digest.Digest) string {
	return string(repo) + "/blobs/" + dgst.Algorithm().String() + "/" + dgst.Encoded()
}

// placedKey is where exactly a blob lies: at a place ("" = nothing is known) that the
// driver has named (Info).
func placedKey(repo RepoName, dgst digest.Digest, at string) string {
	if at == "" {
		return BlobKey(repo, dgst)
	}

	return BlobKey(repo, dgst) + "/" + at
}

// splitPlacedKey is the inverse of placedKey, by the key of the blob.
func splitPlacedKey(key string) (blobKey, at string) {
	repo, rest, ok := cutLast(key, "/blobs/")
	if !ok {
		return key, ""
	}

	parts := strings.SplitN(rest, "/", 3)
	if len(parts) < 3 {
		return key, ""
	}

	return repo + "/blobs/" + parts[0] + "/" + parts[1], parts[2]
}

// placeOf is the place that a driver has named for the object at key, "" if none.
func placeOf(key, placed string) string {
	at, ok := strings.CutPrefix(placed, key+"/")
	if !ok {
		return ""
	}

	return at
}

// UploadKey is where an upload's bytes lie until it is finished.
func UploadKey(repo RepoName, id string) string { return string(repo) + "/.uploads/" + id }

// PullsKey is where a process, replica, keeps when manifests of a repository were pulled.
func PullsKey(repo RepoName, replica string) string { return string(repo) + "/.pulls/" + replica }

// SplitBlobKey is the inverse of BlobKey.
func SplitBlobKey(key string) (RepoName, digest.Digest, bool) {
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
