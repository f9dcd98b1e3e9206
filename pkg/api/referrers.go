package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"zotregistry.io/zot/pkg/storage"
)

const mediaTypeIndex = "application/vnd.oci.image.index.v1+json"

// maxReferrers bounds the descriptors of one page, in bytes of JSON. With what is
// around them a page stays below the 4 MiB that every client takes as a manifest.
const maxReferrers = 4<<20 - 1<<10

// referrerHandler answers /v2/<repo>/referrers/<digest>.
type referrerHandler struct {
	referrers storage.Referrers
	urls      urls
}

// list lists a page of the manifests whose subject the digest is. The cursor is a
// digest, so that a page stays what it is when others are pushed.
func (h referrerHandler) list(w *response, r *request) error {
	query := storage.ReferrerQuery{
		Subject:      r.digest,
		ArtifactType: r.query.Get("artifactType"),
		MaxBytes:     maxReferrers,
	}

	if last := r.query.Get("last"); last != "" {
		var err error
		if query.After, err = storage.ParseDigest(last); err != nil {
			return fmt.Errorf("%w: last: %w", errQuery, err)
		}
	}

	found, more, err := h.referrers.ListReferrers(r.Context(), r.repo, query)
	if err != nil {
		return fmt.Errorf("list referrers: %w", err)
	}

	if query.ArtifactType != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}

	if more && len(found) > 0 {
		h.setNext(w, query, found[len(found)-1], r.repo)
	}

	return sendReferrers(w, found)
}

func (h referrerHandler) setNext(
	w *response, query storage.ReferrerQuery, last storage.Descriptor, repo storage.RepoName,
) {
	next := url.Values{"last": {last.Digest.String()}}
	if query.ArtifactType != "" {
		next.Set("artifactType", query.ArtifactType)
	}

	setNext(w, h.urls, "/v2/"+string(repo)+"/referrers/"+query.Subject.String(), next)
}

func sendReferrers(w *response, found []storage.Descriptor) error {
	if found == nil {
		found = []storage.Descriptor{} // [], not null
	}

	data, err := json.Marshal(struct {
		SchemaVersion int                  `json:"schemaVersion"`
		MediaType     string               `json:"mediaType"`
		Manifests     []storage.Descriptor `json:"manifests"`
	}{2, mediaTypeIndex, found})
	if err != nil {
		return fmt.Errorf("encode referrers: %w", err)
	}

	return sendJSON(w, http.StatusOK, mediaTypeIndex, data)
}
