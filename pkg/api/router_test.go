package api

import (
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
)

var someDigest = digest.FromString("some")

func TestParseTarget(t *testing.T) {
	dgst := someDigest.String()
	blobs := target{endpoint: endpointBlob, repo: "a", digest: someDigest}

	cases := map[string]target{
		"/v2":                     {endpoint: endpointBase},
		"/v2/":                    {endpoint: endpointBase},
		"/v2/_catalog":            {endpoint: endpointCatalog},
		"/v2/_oci/ext/discover":   {endpoint: endpointExtension},
		"/livez":                  {endpoint: endpointLive},
		"/readyz":                 {endpoint: endpointReady},
		"/startupz":               {endpoint: endpointStarted},
		"/v2/a/tags/list":         {endpoint: endpointTags, repo: "a"},
		"/v2/a/b/c/tags/list":     {endpoint: endpointTags, repo: "a/b/c"},
		"/v2/a/blobs/" + dgst:     blobs,
		"/v2/a/blobs/uploads":     {endpoint: endpointUploads, repo: "a"},
		"/v2/a/blobs/uploads/":    {endpoint: endpointUploads, repo: "a"},
		"/v2/a/blobs/uploads/x":   {endpoint: endpointUpload, repo: "a", upload: "x"},
		"/v2/a/referrers/" + dgst: {endpoint: endpointReferrers, repo: "a", digest: someDigest},
		"/v2/a/b/_oci/tag-history/v1": {
			endpoint: endpointTagHistory, repo: "a/b", ref: storage.Reference{Tag: "v1"},
		},
		"/v2/a/b/_oci/repository": {endpoint: endpointRepository, repo: "a/b"},
		"/v2/a/manifests/v1":      {endpoint: endpointManifest, repo: "a", ref: storage.Reference{Tag: "v1"}},
		"/v2/a/manifests/" + dgst: {
			endpoint: endpointManifest, repo: "a", ref: storage.Reference{Digest: someDigest},
		},

		// Names that contain the words.
		"/v2/manifests/manifests/manifests": {
			endpoint: endpointManifest, repo: "manifests", ref: storage.Reference{Tag: "manifests"},
		},
		"/v2/a/blobs/uploads/manifests/v1": {
			endpoint: endpointManifest, repo: "a/blobs/uploads", ref: storage.Reference{Tag: "v1"},
		},
		"/v2/a/manifests/tags/list":           {endpoint: endpointTags, repo: "a/manifests"},
		"/v2/tags/list/tags/list":             {endpoint: endpointTags, repo: "tags/list"},
		"/v2/a/manifests/blobs/uploads/":      {endpoint: endpointUploads, repo: "a/manifests"},
		"/v2/blobs/uploads/blobs/uploads/x":   {endpoint: endpointUpload, repo: "blobs/uploads", upload: "x"},
		"/v2/a/referrers/blobs/" + dgst:       {endpoint: endpointBlob, repo: "a/referrers", digest: someDigest},
		"/v2/a/manifests/list/manifests/list": {endpoint: endpointManifest, repo: "a/manifests/list", ref: storage.Reference{Tag: "list"}},
	}

	for path, want := range cases {
		got, err := parseTarget(path)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", path, got, err, want)
		}
	}
}

func TestParseTargetErrors(t *testing.T) {
	cases := map[string]error{
		"":                         errNoEndpoint,
		"/":                        errNoEndpoint,
		"/v1/":                     errNoEndpoint,
		"/v2/a":                    errNoEndpoint,
		"/v2/a/b":                  errNoEndpoint,
		"/v2/manifests/v1":         errNoEndpoint,
		"/v2/tags/list":            errNoEndpoint,
		"/v2/_catalog/":            errNoEndpoint,
		"/v2/a/tags":               errNoEndpoint,
		"/v2/a/manifests/v1/":      errNoEndpoint,
		"/v2/A/manifests/v1":       storage.ErrNameInvalid,
		"/v2//manifests/v1":        storage.ErrNameInvalid,
		"/v2/a//b/tags/list":       storage.ErrNameInvalid,
		"/v2/../manifests/v1":      storage.ErrNameInvalid,
		"/v2/a/manifests/":         storage.ErrTagInvalid,
		"/v2/a/manifests/-x":       storage.ErrTagInvalid,
		"/v2/a/manifests/sha256:x": storage.ErrDigestInvalid,
		"/v2/a/blobs/":             storage.ErrDigestInvalid,
		"/v2/a/blobs/latest":       storage.ErrDigestInvalid,
		"/v2/a/referrers/latest":   storage.ErrDigestInvalid,
		"/v2/a/_oci/tag-history/" + string(someDigest): storage.ErrTagInvalid,
		"/v2/_oci/tag-history/v1":                      errNoEndpoint,
		"/v2/a/blobs/md5:d41d8cd98f00b2":               storage.ErrDigestInvalid,
	}

	for path, want := range cases {
		if _, err := parseTarget(path); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", path, err, want)
		}
	}
}

// pathOf is the inverse of parseTarget for what has a repository.
func pathOf(t target) string {
	repo := "/v2/" + string(t.repo)

	switch t.endpoint {
	case endpointTags:
		return repo + "/tags/list"
	case endpointManifest:
		return repo + "/manifests/" + t.ref.String()
	case endpointBlob:
		return repo + "/blobs/" + t.digest.String()
	case endpointUploads:
		return repo + "/blobs/uploads/"
	case endpointUpload:
		return repo + "/blobs/uploads/" + t.upload
	case endpointReferrers:
		return repo + "/referrers/" + t.digest.String()
	case endpointTagHistory:
		return repo + "/_oci/tag-history/" + string(t.ref.Tag)
	case endpointRepository:
		return repo + "/_oci/repository"
	case endpointCallback:
		return "/zot/auth/callback/" + t.provider
	}

	return ""
}

func FuzzParseTarget(f *testing.F) {
	for _, path := range []string{
		"/v2/", "/v2/a/tags/list", "/v2/a/b/manifests/v1", "/v2/a/blobs/" + someDigest.String(),
		"/v2/a/blobs/uploads/x", "/v2/a/referrers/" + someDigest.String(), "/v2/a/blobs/uploads",
		"/v2/a/_oci/tag-history/v1", "/v2/a/_oci/repository",
	} {
		f.Add(path)
	}

	f.Fuzz(func(t *testing.T, path string) {
		got, err := parseTarget(path)
		if err != nil {
			if problemOf(err).status >= 500 {
				t.Errorf("%q: %v is not the client's fault", path, err)
			}

			return
		}

		if got.repo == "" {
			if _, ok := fixed[path]; !ok {
				t.Errorf("%q has no repository: %+v", path, got)
			}

			return
		}

		if _, err := storage.ParseRepoName(string(got.repo)); err != nil {
			t.Errorf("%q: %v", path, err)
		}

		if back := pathOf(got); back != path && back != path+"/" {
			t.Errorf("%q became %q", path, back)
		}

		if strings.Contains(got.upload, "/") {
			t.Errorf("%q: upload id %q", path, got.upload)
		}
	})
}
