package api

import (
	"encoding/json"
	"fmt"
	"net/http"

	"zotregistry.io/zot/pkg/storage"
)

// tagHandler answers /v2/<repo>/tags/list.
type tagHandler struct {
	tags storage.Tags
	urls urls
}

// list lists tags, all of them if the client does not say how many: clients that
// know no Link header would take a page for the whole.
func (h tagHandler) list(w *response, r *request) error {
	p, err := parsePage(r.query)
	if err != nil {
		return err
	}

	var after storage.Tag
	if p.last != "" {
		if after, err = storage.ParseTag(p.last); err != nil {
			return fmt.Errorf("%w: last: %q is not a tag", errQuery, p.last)
		}
	}

	tags, more, err := h.tags.ListTags(r.Context(), r.repo, after, p.n)
	if err != nil {
		return fmt.Errorf("list tags: %w", err)
	}

	if more && len(tags) > 0 {
		setNext(w, h.urls, "/v2/"+string(r.repo)+"/tags/list", p.next(string(tags[len(tags)-1])))
	}

	return sendTags(w, r.repo, tags)
}

func sendTags(w *response, repo storage.RepoName, tags []storage.Tag) error {
	if tags == nil {
		tags = []storage.Tag{} // [], not null
	}

	data, err := json.Marshal(struct {
		Name storage.RepoName `json:"name"`
		Tags []storage.Tag    `json:"tags"`
	}{repo, tags})
	if err != nil {
		return fmt.Errorf("encode tags: %w", err)
	}

	return sendJSON(w, http.StatusOK, "application/json", data)
}
