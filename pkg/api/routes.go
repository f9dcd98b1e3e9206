package api

import (
	"net/http"
	"strconv"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/semaphore"

	"zotregistry.io/zot/pkg/storage"
)

// newRoutes says which handler answers which method of which endpoint.
func newRoutes(registry Registry, urls urls, may mayRead, draining func() bool) map[endpoint]methods {
	blobs := blobHandlers{blobs: registry}
	uploads := uploadHandlers{uploads: registry, blobs: registry, urls: urls, mayRead: may}
	manifests := manifestHandlers{
		manifests: registry, urls: urls, memory: semaphore.NewWeighted(manifestMemory),
	}

	return map[endpoint]methods{
		endpointBase:       read(base),
		endpointExtension:  read(discover(urls)),
		endpointCatalog:    read(catalogHandler{catalog: registry, urls: urls, mayRead: may}.list),
		endpointTags:       read(tagHandler{tags: registry, urls: urls}.list),
		endpointReferrers:  read(referrerHandler{referrers: registry, urls: urls}.list),
		endpointTagHistory: read(historyHandler{history: registry, urls: urls}.list),
		endpointManifest: {
			http.MethodGet: manifests.get, http.MethodHead: manifests.head,
			http.MethodPut: manifests.put, http.MethodDelete: manifests.delete,
		},
		endpointBlob: {
			http.MethodGet: blobs.get, http.MethodHead: blobs.head, http.MethodDelete: blobs.delete,
		},
		endpointUploads: {http.MethodPost: uploads.post},
		endpointUpload: {
			http.MethodGet: uploads.status, http.MethodHead: uploads.status,
			http.MethodPatch: uploads.patch, http.MethodPut: uploads.put, http.MethodDelete: uploads.cancel,
		},
		endpointLive:    read(alive),
		endpointStarted: read(alive),
		endpointReady:   read(ready(draining)),
	}
}

// read is what can only be read. net/http leaves the body away for HEAD.
func read(handle handler) methods {
	return methods{http.MethodGet: handle, http.MethodHead: handle}
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

func newURLs(external string) urls {
	for len(external) > 0 && external[len(external)-1] == '/' {
		external = external[:len(external)-1]
	}

	return urls{external: external}
}

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
