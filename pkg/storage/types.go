package storage

import (
	"fmt"
	"io"
	"strings"

	_ "crypto/sha256" // digest.SHA256
	_ "crypto/sha512" // digest.SHA512

	"github.com/opencontainers/go-digest"
)

// RepoName is the name of a repository. ParseRepoName makes one; a value of this
// type is valid and safe to use as a path below the root.
type RepoName string

// Tag is the name of a tag. ParseTag makes one.
type Tag string

// Reference names a manifest: by tag, or by digest. Exactly one is set.
type Reference struct {
	Tag    Tag
	Digest digest.Digest
}

// Descriptor says what a manifest is. Its JSON form is an OCI descriptor; Subject
// is not part of it.
type Descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       digest.Digest     `json:"digest"`
	Size         int64             `json:"size"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	Subject      digest.Digest     `json:"-"`
}

// Range selects bytes of a blob. The zero value selects none; Whole selects all.
type Range struct {
	Offset int64
	Length int64 // -1 = to the end
}

// Whole is the range of all bytes.
var Whole = Range{Length: -1}

// Object is an open object. Body yields the bytes of the range that was asked for;
// for a local file it is an *os.File or an *io.LimitedReader over one, so that
// net/http can use sendfile(2). The caller closes it.
type Object struct {
	Body io.Reader
	Size int64 // of the whole object
	io.Closer
}

// Limits of names, from distribution-spec "Pulling manifests". Many clients stop at
// 255 characters for host and name together.
const (
	maxRepoName = 255
	maxTag      = 128
)

// ParseRepoName checks name against the grammar of the distribution-spec.
//
// Some names that the grammar allows are refused, since a root that is an OCI
// layout per repository has files there: a component index.json or oci-layout, a
// component blobs followed by a digest algorithm, and what begins with cache.db or
// meta.db as the first component.
//
// Errors: ErrNameInvalid.
func ParseRepoName(name string) (RepoName, error) {
	if name == "" || len(name) > maxRepoName {
		return "", fmt.Errorf("%w: %d characters, 1 to %d are allowed", ErrNameInvalid, len(name), maxRepoName)
	}

	before := ""

	for part := range strings.SplitSeq(name, "/") {
		if !validComponent(part) {
			return "", fmt.Errorf("%w: %q", ErrNameInvalid, name)
		}

		if reserved(before, part) {
			return "", fmt.Errorf("%w: %q is reserved in %q", ErrNameInvalid, part, name)
		}

		before = part
	}

	return RepoName(name), nil
}

// reserved says whether part may not stand behind another component, "" for none.
func reserved(before, part string) bool {
	switch part {
	case "index.json", "oci-layout":
		return true
	case "sha256", "sha384", "sha512":
		return before == "blobs"
	}

	return before == "" && (strings.HasPrefix(part, "cache.db") || strings.HasPrefix(part, "meta.db"))
}

// validComponent matches [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*.
func validComponent(part string) bool {
	alnum := func(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

	if part == "" || !alnum(part[0]) || !alnum(part[len(part)-1]) {
		return false
	}

	for i := 1; i < len(part); i++ {
		if alnum(part[i]) {
			continue
		}

		start := i
		for !alnum(part[i+1]) { // ends: the last byte is alphanumeric
			i++
		}

		switch sep := part[start : i+1]; {
		case sep == ".", sep == "_", sep == "__", strings.Trim(sep, "-") == "":
		default:
			return false
		}
	}

	return true
}

// ParseTag checks a tag: [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}.
//
// Errors: ErrTagInvalid.
func ParseTag(tag string) (Tag, error) {
	if tag == "" || len(tag) > maxTag {
		return "", fmt.Errorf("%w: %d characters, 1 to %d are allowed", ErrTagInvalid, len(tag), maxTag)
	}

	for i := range len(tag) {
		c := tag[i]

		word := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
		if !word && (i == 0 || c != '.' && c != '-') {
			return "", fmt.Errorf("%w: %q", ErrTagInvalid, tag)
		}
	}

	return Tag(tag), nil
}

// ParseDigest checks a digest. sha256 and sha512 are taken.
//
// Errors: ErrDigestInvalid.
func ParseDigest(s string) (digest.Digest, error) {
	dgst := digest.Digest(s)
	if isUsualDigest(s) { // nearly always; what follows uses regular expressions
		return dgst, nil
	}

	if err := dgst.Validate(); err != nil {
		return "", fmt.Errorf("%w: %q: %w", ErrDigestInvalid, s, err)
	}

	return dgst, CheckAlgorithm(dgst.Algorithm())
}

// isUsualDigest says whether s is a digest of SHA-256.
func isUsualDigest(s string) bool {
	const prefix, length = "sha256:", 7 + 64
	if len(s) != length || s[:len(prefix)] != prefix {
		return false
	}

	for _, c := range []byte(s[len(prefix):]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}

	return true
}

// CheckAlgorithm says whether digests of alg are taken.
//
// Errors: ErrDigestInvalid.
func CheckAlgorithm(alg digest.Algorithm) error {
	if alg != digest.SHA256 && alg != digest.SHA512 {
		return fmt.Errorf("%w: algorithm %q; sha256 and sha512 are supported", ErrDigestInvalid, alg)
	}

	return nil
}

// ParseReference reads a tag or a digest.
//
// Errors: ErrTagInvalid, ErrDigestInvalid.
func ParseReference(s string) (Reference, error) {
	if strings.Contains(s, ":") {
		dgst, err := ParseDigest(s)

		return Reference{Digest: dgst}, err
	}

	tag, err := ParseTag(s)

	return Reference{Tag: tag}, err
}

// String returns the tag or the digest.
func (r Reference) String() string {
	if r.Tag != "" {
		return string(r.Tag)
	}

	return r.Digest.String()
}
