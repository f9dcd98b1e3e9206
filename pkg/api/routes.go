package api

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/auth"
	"zotregistry.io/zot/pkg/storage"
)

// newRoutes says which handler answers which method of which endpoint, and what a user needs
// for it.
func newRoutes(
	registry Registry, keys *auth.Keys, openID *auth.OpenID, urls urls, draining func() bool, metrics Metrics,
) map[endpoint]methods {
	blobs := blobHandlers{blobs: registry}
	apiKeys := keyHandler{keys: keys}
	logins := loginHandler{openID: openID}
	uploads := uploadHandlers{uploads: registry, blobs: registry, urls: urls}
	manifests := manifestHandlers{manifests: registry, urls: urls, memory: newManifestMemory()}

	return map[endpoint]methods{
		endpointBase:       get(needsEntry, base),
		endpointExtension:  get(needsEntry, discover(urls)),
		endpointCatalog:    get(needsEntry, catalogHandler{catalog: registry, urls: urls}.answer),
		endpointTags:       get(needsRead, tagHandler{tags: registry, urls: urls}.list),
		endpointReferrers:  get(needsRead, referrerHandler{referrers: registry, urls: urls}.list),
		endpointTagHistory: get(needsRead, historyHandler{history: registry, urls: urls}.list),
		endpointManifest: {
			http.MethodGet: {needsRead, manifests.get}, http.MethodHead: {needsRead, manifests.head},
			http.MethodPut: {needsPush, manifests.put}, http.MethodDelete: {needsDelete, manifests.delete},
		},
		endpointBlob: {
			http.MethodGet: {needsRead, blobs.get}, http.MethodHead: {needsRead, blobs.head},
			http.MethodDelete: {needsDelete, blobs.delete},
		},
		endpointUploads: {http.MethodPost: {needsCreate, uploads.post}},
		endpointUpload: {
			http.MethodGet: {needsCreate, uploads.status}, http.MethodHead: {needsCreate, uploads.status},
			http.MethodPatch: {needsCreate, uploads.patch}, http.MethodPut: {needsCreate, uploads.put},
			http.MethodDelete: {needsCreate, uploads.cancel},
		},
		endpointRepository: {http.MethodDelete: {needsAdmin, repositoryHandler{repos: registry}.delete}},
		endpointAPIKeys:    apiKeys.methods(),
		endpointLogin:      logins.only(http.MethodGet, logins.begin),
		endpointCallback:   logins.only(http.MethodGet, logins.finish),
		endpointLogout:     logins.only(http.MethodPost, logins.end),
		endpointToken:      {http.MethodGet: {needsNothing, giveToken}},
		endpointMetrics:    get(needsMetrics, show(metrics)),
		endpointProfile:    {http.MethodGet: {needsInsight, profile}},
		endpointLive:       get(needsNothing, alive),
		endpointStarted:    get(needsNothing, alive),
		endpointReady:      get(needsNothing, ready(draining)),
	}
}

// get is what can only be got. net/http leaves the body away for HEAD.
func get(needs need, handle handler) methods {
	return methods{http.MethodGet: {needs, handle}, http.MethodHead: {needs, handle}}
}

// base says that this is a registry.
func base(w *response, _ *request) error {
	return sendJSON(w, http.StatusOK, "application/json", []byte("{}"))
}

// urls builds the URLs of answers: relative ones, unless it is known how clients
// see us.
type urls struct {
	external string // "https://registry.example"; "" = relative
}

func newURLs(external string) urls { return urls{external: strings.TrimRight(external, "/")} }

func (u urls) to(path string) string { return u.external + path }

func (u urls) blob(repo storage.RepoName, dgst digest.Digest) string {
	return u.to("/v2/" + string(repo) + "/blobs/" + dgst.String())
}

// upload tells with the URL how much is kept, where that is of use: then a replica
// notices that another one has taken bytes meanwhile. Elsewhere the URL has no query,
// for clients that append one of their own without looking.
func (u urls) upload(repo storage.RepoName, status storage.UploadStatus) string {
	url := u.to("/v2/" + string(repo) + "/blobs/uploads/" + status.ID)
	if !status.Shared {
		return url
	}

	return url + "?" + keptParam + "=" + strconv.FormatInt(status.Size, 10)
}

const keptParam = "kept"

func (u urls) manifest(repo storage.RepoName, dgst digest.Digest) string {
	return u.to("/v2/" + string(repo) + "/manifests/" + dgst.String())
}
