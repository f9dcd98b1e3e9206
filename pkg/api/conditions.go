package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
)

// etagOf is the entity tag of what has a digest: the bytes can never change.
func etagOf(dgst digest.Digest) string { return `"` + dgst.String() + `"` }

// etag is an entity tag of a request.
type etag struct {
	digest digest.Digest // noDigest if it is none of ours
	weak   bool
}

// noDigest stands for an entity tag that nothing has. A list of such tags matches
// nothing, which is not the same as no list; and "" is what a tag that does not exist
// points to.
const noDigest digest.Digest = "-"

// etags are the value of If-Match or If-None-Match.
type etags struct {
	any  bool // "*"
	list []etag
}

// digests are the entity tags as digests. By strong comparison a weak one matches
// nothing (RFC 9110, 8.8.3.2).
func (e etags) digests(strong bool) []digest.Digest {
	var list []digest.Digest

	for _, tag := range e.list {
		if tag.weak && strong {
			tag.digest = noDigest
		}

		list = append(list, tag.digest)
	}

	return list
}

// parseETags reads all lines of a header.
//
// Errors: errHeader.
func parseETags(lines []string) (etags, error) {
	var found etags

	rest := strings.Trim(strings.Join(lines, ","), " \t,")
	if rest == "*" {
		return etags{any: true}, nil
	}

	for rest != "" {
		tag, after, err := cutETag(rest)
		if err != nil {
			return etags{}, err
		}

		found.list = append(found.list, tag)

		trimmed := strings.TrimLeft(after, " \t")
		if trimmed != "" && trimmed[0] != ',' {
			return etags{}, fmt.Errorf("%w: entity tags are separated by commas: %q", errHeader, after)
		}

		rest = strings.TrimLeft(trimmed, " \t,")
	}

	return found, nil
}

// cutETag reads the first entity tag. A digest without quotes is taken too, since
// clients of Docker's registry send it so.
func cutETag(s string) (etag, string, error) {
	opaque, weak := strings.CutPrefix(s, "W/")

	if quoted, ok := strings.CutPrefix(opaque, `"`); ok {
		value, after, closed := strings.Cut(quoted, `"`)
		if !closed {
			return etag{}, "", fmt.Errorf("%w: no quote at the end of %q", errHeader, s)
		}

		dgst := digest.Digest(value)
		if dgst.Validate() != nil {
			dgst = noDigest
		}

		return etag{digest: dgst, weak: weak}, after, nil
	}

	end := strings.IndexAny(opaque, ", \t")
	if end < 0 {
		end = len(opaque)
	}

	dgst := digest.Digest(opaque[:end])
	if weak || dgst.Validate() != nil {
		return etag{}, "", fmt.Errorf("%w: entity tags are quoted: %q", errHeader, s)
	}

	return etag{digest: dgst}, opaque[end:], nil
}

// parsePrecondition reads what must hold for a tag to be changed.
//
// Errors: errHeader.
func parsePrecondition(header http.Header) (storage.Precondition, error) {
	match, err := parseETags(header.Values("If-Match"))
	if err != nil {
		return storage.Precondition{}, fmt.Errorf("If-Match: %w", err)
	}

	none, err := parseETags(header.Values("If-None-Match"))
	if err != nil {
		return storage.Precondition{}, fmt.Errorf("If-None-Match: %w", err)
	}

	return storage.Precondition{
		Match: match.digests(true), MatchAny: match.any,
		NoneMatch: none.digests(false), NoneAny: none.any,
	}, nil
}

// unconditional says whether a precondition asks for nothing.
func unconditional(cond storage.Precondition) bool {
	return !cond.MatchAny && !cond.NoneAny && len(cond.Match) == 0 && len(cond.NoneMatch) == 0
}

// holds evaluates a precondition for a manifest that is named by its digest: all that
// can be asked is whether it is there.
func holds(cond storage.Precondition, dgst digest.Digest, there bool) bool {
	if !there {
		return !cond.MatchAny && len(cond.Match) == 0
	}

	return !cond.NoneAny && !slices.Contains(cond.NoneMatch, dgst) &&
		(len(cond.Match) == 0 || slices.Contains(cond.Match, dgst))
}

// notModified says whether a client that asks for dgst has it already.
//
// Errors: errHeader; storage.ErrPrecondition if If-Match names something else.
func notModified(header http.Header, dgst digest.Digest) (bool, error) {
	if header.Get("If-Match") == "" && header.Get("If-None-Match") == "" {
		return false, nil
	}

	cond, err := parsePrecondition(header)
	if err != nil {
		return false, err
	}

	if !holds(storage.Precondition{Match: cond.Match}, dgst, true) {
		return false, fmt.Errorf("%w: If-Match names another than %s", storage.ErrPrecondition, dgst)
	}

	return !holds(storage.Precondition{NoneMatch: cond.NoneMatch, NoneAny: cond.NoneAny}, dgst, true), nil
}
