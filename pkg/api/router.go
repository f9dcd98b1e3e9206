package api

import (
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/auth"
	"zotregistry.io/zot/pkg/storage"
)

// endpoint is a kind of URL.
type endpoint int

const (
	endpointBase       endpoint = iota // /v2/
	endpointCatalog                    // /v2/_catalog
	endpointExtension                  // /v2/_oci/ext/discover
	endpointTags                       // /v2/<repo>/tags/list
	endpointManifest                   // /v2/<repo>/manifests/<tag or digest>
	endpointBlob                       // /v2/<repo>/blobs/<digest>
	endpointUploads                    // /v2/<repo>/blobs/uploads/
	endpointUpload                     // /v2/<repo>/blobs/uploads/<id>
	endpointReferrers                  // /v2/<repo>/referrers/<digest>
	endpointTagHistory                 // /v2/<repo>/_oci/tag-history/<tag>
	endpointRepository                 // /v2/<repo>/_oci/repository
	endpointAPIKeys                    // /zot/auth/apikey
	endpointToken                      // /zot/auth/token
	endpointMetrics                    // where the configuration says
	endpointProfile                    // /zot/debug/pprof/<name>
	endpointLogin                      // /zot/auth/login
	endpointCallback                   // /zot/auth/callback/<provider>
	endpointLogout                     // /zot/auth/logout
	endpointLive                       // /livez
	endpointReady                      // /readyz
	endpointStarted                    // /startupz
)

// endpointNames are those in metrics.
var endpointNames = [...]string{
	endpointBase: "base", endpointCatalog: "catalog", endpointExtension: "discover", endpointTags: "tags",
	endpointManifest: "manifest", endpointBlob: "blob", endpointUploads: "upload-start", endpointUpload: "upload",
	endpointReferrers: "referrers", endpointTagHistory: "tag-history", endpointRepository: "repository",
	endpointAPIKeys: "apikey", endpointLogin: "login", endpointCallback: "login-callback", endpointLogout: "logout",
	endpointToken: "token", endpointMetrics: "metrics", endpointProfile: "pprof",
	endpointLive: "livez", endpointReady: "readyz", endpointStarted: "startupz",
}

// Serves says whether a path without a repository has a meaning of its own.
func Serves(path string) bool {
	_, taken := fixed[path]

	return taken
}

// health says whether the endpoint is for probes: without credentials, and without
// a line in the log.
func (e endpoint) health() bool { return e >= endpointLive }

// login says whether the endpoint is where users log in and out. Whatever credentials come
// there, nobody looks at them.
func (e endpoint) login() bool { return e >= endpointLogin && e <= endpointLogout }

// target is what a request's path names.
type target struct {
	endpoint endpoint
	repo     storage.RepoName
	ref      storage.Reference // endpointManifest, endpointTagHistory
	digest   digest.Digest     // endpointBlob, endpointReferrers
	upload   string            // endpointUpload
	provider string            // endpointCallback
}

// fixed are the paths without a repository.
var fixed = map[string]endpoint{
	"/v2":                   endpointBase,
	"/v2/":                  endpointBase,
	"/v2/_catalog":          endpointCatalog,
	"/v2/_oci/ext/discover": endpointExtension,
	"/zot/auth/apikey":      endpointAPIKeys,
	auth.TokenPath:          endpointToken,
	"/zot/auth/login":       endpointLogin,
	"/zot/auth/logout":      endpointLogout,
	pprofPath:               endpointProfile,
	"/livez":                endpointLive,
	"/readyz":               endpointReady,
	"/startupz":             endpointStarted,
}

// parseTarget reads a decoded path. A repository's name contains slashes and may
// contain the words manifests, blobs and tags, so a path is read from its end.
//
// Errors: errNoEndpoint, storage.ErrNameInvalid, storage.ErrDigestInvalid,
// storage.ErrTagInvalid. The endpoint is set whenever the shape of the path names one.
func parseTarget(path string) (target, error) {
	if e, ok := fixed[path]; ok {
		return target{endpoint: e}, nil
	}

	if provider, ok := strings.CutPrefix(path, auth.CallbackPath); ok && provider != "" {
		return target{endpoint: endpointCallback, provider: provider}, nil
	}

	if strings.HasPrefix(path, pprofPath) {
		return target{endpoint: endpointProfile}, nil
	}

	rest, ok := strings.CutPrefix(path, "/v2/")
	if !ok {
		return target{}, errNoEndpoint
	}

	parsed, repo, name, ok := splitPath(rest)
	if !ok {
		return target{}, errNoEndpoint
	}

	return parsed.named(repo, name)
}

// splitPath finds the endpoint, the repository and what follows it.
func splitPath(rest string) (target, string, string, bool) {
	if repo, ok := strings.CutSuffix(rest, "/tags/list"); ok {
		return target{endpoint: endpointTags}, repo, "", true
	}

	if repo, ok := strings.CutSuffix(rest, "/_oci/repository"); ok {
		return target{endpoint: endpointRepository}, repo, "", true
	}

	slash := strings.LastIndexByte(rest, '/')
	if slash < 0 {
		return target{}, "", "", false
	}

	head, last := rest[:slash], rest[slash+1:]

	for _, room := range rooms {
		if repo, ok := strings.CutSuffix(head, room.suffix); ok {
			return target{endpoint: room.endpoint.of(last)}, repo, last, true
		}
	}

	return target{}, "", "", false
}

// rooms are what stands between a repository and the last part of a path. No suffix
// is one of another.
var rooms = []struct {
	suffix   string
	endpoint endpoint
}{
	{"/manifests", endpointManifest},
	{"/blobs", endpointBlob},
	{"/blobs/uploads", endpointUpload},
	{"/referrers", endpointReferrers},
	{"/_oci/tag-history", endpointTagHistory},
}

// of tells an upload from the place where uploads begin, which is written with and
// without a slash at the end.
func (e endpoint) of(last string) endpoint {
	if e == endpointUpload && last == "" || e == endpointBlob && last == "uploads" {
		return endpointUploads
	}

	return e
}

// named fills in the repository and what is named in it.
func (t target) named(repo, name string) (target, error) {
	var err error

	if t.repo, err = storage.ParseRepoName(repo); err != nil {
		return t, fmt.Errorf("path: %w", err)
	}

	switch t.endpoint {
	case endpointManifest:
		t.ref, err = storage.ParseReference(name)
	case endpointBlob, endpointReferrers:
		t.digest, err = storage.ParseDigest(name)
	case endpointTagHistory:
		t.ref.Tag, err = storage.ParseTag(name)
	case endpointUpload:
		t.upload = name
	}

	if err != nil {
		return t, fmt.Errorf("path: %w", err)
	}

	return t, nil
}
