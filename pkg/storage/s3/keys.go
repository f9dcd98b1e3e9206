package s3

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
)

// Every key in the bucket is built here. docs/s3-format.md says who writes each.
//
// The engine's keys are names of objects, except for those of blobs and manifests
// (storage.BlobKey). Such a key says who holds what; where the bytes are is its place, a
// word behind it: "pool.<generation>" for bytes that repositories share, or
// "own.<seq>-<token>" for bytes that are this repository's own.
const (
	privatePrefix = "_zot/"
	rootKey       = privatePrefix + "root.json"
	probePrefix   = privatePrefix + "probe/"
	claimKey      = privatePrefix + "gc.json"
	poolPrefix    = "_blobs/"
	logDir        = "/.zot/"
	uploadsDir    = "/.uploads/"
	stagedSuffix  = ".data" // of an upload: what is assembled before its digest is known

	poolPlace   = "pool."
	ownPlace    = "own."
	memberPlace = "in." // of a membership without bytes, in a listing
)

// memberName names a membership of a repository whose newest record that this process has
// read has the number seq. A deleter's record of a higher number ends it
// (docs/s3-format.md, "Deleting").
func memberName(seq uint64) string { return fmt.Sprintf("%020d-%s", seq, newToken()) }

// placeOfMember is the place in the engine's key of a membership.
func placeOfMember(name string) string {
	if isOwn(name) {
		return name
	}

	return memberPlace + name
}

// memberSeq is the number in the name of a membership, own or not, 0 if it has none.
func memberSeq(name string) uint64 {
	number, _, _ := strings.Cut(strings.TrimPrefix(name, ownPlace), "-")

	seq, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return 0
	}

	return seq
}

// newToken names an object that is written once and never again: 32 digits that
// nobody else draws.
func newToken() string { return strings.ReplaceAll(uuid.NewString(), "-", "") }

// blob is a blob of a repository, perhaps with its place.
type blob struct {
	repo   storage.RepoName
	digest digest.Digest
	place  string // "" = unknown
}

// parseBlob reads a key that BlobKey made, with a place behind it or without.
func parseBlob(key string) (blob, bool) {
	if repo, dgst, ok := storage.SplitBlobKey(key); ok {
		return blob{repo, dgst, ""}, true
	}

	dir, place := path.Split(key)

	repo, dgst, ok := storage.SplitBlobKey(strings.TrimSuffix(dir, "/"))
	if !ok || place == "" {
		return blob{}, false
	}

	return blob{repo, dgst, place}, true
}

// key is the engine's key, without a place.
func (b blob) key() string { return storage.BlobKey(b.repo, b.digest) }

// at is the engine's key with a place.
func (b blob) at(place string) string { return b.key() + "/" + place }

func isOwn(place string) bool { return strings.HasPrefix(place, ownPlace) }

// generation reads a place in the pool.
func generation(place string) (gen int, ok bool) {
	number, ok := strings.CutPrefix(place, poolPlace)
	if !ok {
		return 0, false
	}

	gen, err := strconv.Atoi(number)

	return gen, err == nil && gen >= 0 && poolPlaceOf(gen) == place
}

func poolPlaceOf(gen int) string { return poolPlace + strconv.Itoa(gen) }

// poolDir is where all about a digest is. The first two digits stand before it for
// gateways that keep keys as directories: they read one to say that a key is not there.
func poolDir(dgst digest.Digest) string {
	return poolPrefix + dgst.Algorithm().String() + "/" + dgst.Encoded()[:2] + "/" + dgst.Encoded() + "/"
}

func dataKey(dgst digest.Digest, gen int) string { return poolDir(dgst) + "data." + strconv.Itoa(gen) }

func tombstoneKey(dgst digest.Digest) string { return poolDir(dgst) + "tombstone" }

func membersPrefix(dgst digest.Digest) string { return poolDir(dgst) + "in/" }

// memberPrefix is what the memberships of one repository start with. Its slashes are
// escaped: "a" must not list those of "a/b".
func memberPrefix(dgst digest.Digest, repo storage.RepoName) string {
	return membersPrefix(dgst) + strings.ReplaceAll(string(repo), "/", ":") + "/"
}

// splitPool reads the digest from a key in the pool, and what stands behind it.
func splitPool(key string) (dgst digest.Digest, rest string, ok bool) {
	parts := strings.SplitN(strings.TrimPrefix(key, poolPrefix), "/", 4)
	if len(parts) < 4 {
		return "", "", false
	}

	dgst, err := storage.ParseDigest(parts[0] + ":" + parts[2])

	return dgst, parts[3], err == nil && poolDir(dgst)+parts[3] == key
}

// splitMember reads the repository from a membership's key.
func splitMember(dgst digest.Digest, key string) (storage.RepoName, error) {
	escaped, _, _ := strings.Cut(strings.TrimPrefix(key, membersPrefix(dgst)), "/")

	return storage.ParseRepoName(strings.ReplaceAll(escaped, ":", "/"))
}

// physical is the object of a key: of a blob only with its place.
func physical(key string) string {
	b, ok := parseBlob(key)
	if !ok {
		return key
	}

	if gen, pooled := generation(b.place); pooled {
		return dataKey(b.digest, gen)
	}

	if isOwn(b.place) {
		return memberPrefix(b.digest, b.repo) + b.place
	}

	if token, member := strings.CutPrefix(b.place, memberPlace); member {
		return memberPrefix(b.digest, b.repo) + token
	}

	return key
}

// hidden says whether a key is none of the engine's.
func hidden(key string) bool {
	return strings.HasPrefix(key, privatePrefix) || strings.HasPrefix(key, poolPrefix) ||
		strings.Contains(key, logDir) || strings.Contains(key, uploadsDir) && strings.HasSuffix(key, stagedSuffix)
}

// checkKey refuses what is no path: a bucket would take it, and nothing would find it.
func checkKey(key string) error {
	if !fs.ValidPath(key) || key == "." || strings.ContainsRune(key, 0) || hidden(key) {
		return fmt.Errorf("key %q: %w", key, fs.ErrInvalid)
	}

	return nil
}
