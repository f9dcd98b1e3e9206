package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"zotregistry.io/zot/pkg/storage"
)

// How many events a page of a tag's history has: where the client does not say, and at most.
const (
	defaultEvents = 100
	maxEvents     = 1000
)

// historyHandler answers /v2/<repo>/_oci/tag-history/<tag>.
type historyHandler struct {
	history storage.History
	urls    urls
}

// list lists events, the newest first. The cursor is the number of the last one's record, so
// that a page stays what it is when the tag moves.
func (h historyHandler) list(w *response, r *request) error {
	p, err := parsePage(r.query)
	if err != nil {
		return err
	}

	before := uint64(0)
	if p.last != "" {
		if before, err = strconv.ParseUint(p.last, 10, 64); err != nil {
			return fmt.Errorf("%w: last: %q is no number of an event", errQuery, p.last)
		}
	}

	if p.n < 0 {
		p.n = defaultEvents
	}

	p.n = min(p.n, maxEvents)

	events, more, err := h.history.TagHistory(r.Context(), r.repo, r.ref.Tag, before, p.n)
	if err != nil {
		return fmt.Errorf("list the history of a tag: %w", err)
	}

	if more && len(events) > 0 {
		last := strconv.FormatUint(events[len(events)-1].Seq, 10)
		setNext(w, h.urls, "/v2/"+string(r.repo)+"/_oci/tag-history/"+string(r.ref.Tag), p.next(last))
	}

	return sendEvents(w, r, events)
}

func sendEvents(w *response, r *request, events []storage.TagEvent) error {
	if events == nil {
		events = []storage.TagEvent{} // [], not null
	}

	data, err := json.Marshal(struct {
		Name   storage.RepoName   `json:"name"`
		Tag    storage.Tag        `json:"tag"`
		Events []storage.TagEvent `json:"events"`
	}{r.repo, r.ref.Tag, events})
	if err != nil {
		return fmt.Errorf("encode events: %w", err)
	}

	return sendJSON(w, http.StatusOK, "application/json", data)
}
