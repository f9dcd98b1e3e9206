package api

import (
	"encoding/json"
	"fmt"
	"net/http"

	"zotregistry.io/zot/pkg/storage"
)

// catalogHandler answers /v2/_catalog.
type catalogHandler struct {
	catalog storage.Catalog
	urls    urls
	mayRead mayRead
}

// list lists the repositories that the user may read, all of them if the client does
// not say how many.
func (h catalogHandler) list(w *response, r *request) error {
	p, err := parsePage(r.query)
	if err != nil {
		return err
	}

	var after storage.RepoName
	if p.last != "" {
		if after, err = storage.ParseRepoName(p.last); err != nil {
			return fmt.Errorf("%w: last: %w", errQuery, err)
		}
	}

	repos, more, err := h.readable(r, after, p.n)
	if err != nil {
		return fmt.Errorf("list repositories: %w", err)
	}

	if more && len(repos) > 0 {
		setNext(w, h.urls, "/v2/_catalog", p.next(string(repos[len(repos)-1])))
	}

	data, err := json.Marshal(map[string][]storage.RepoName{"repositories": repos})
	if err != nil {
		return fmt.Errorf("encode repositories: %w", err)
	}

	return sendJSON(w, http.StatusOK, "application/json", data)
}

// readable fills a page of n (-1 = all) with what the user may read.
func (h catalogHandler) readable(r *request, after storage.RepoName, n int) ([]storage.RepoName, bool, error) {
	found := []storage.RepoName{} // [], not null

	for {
		want := n
		if n > 0 {
			want = n - len(found)
		}

		repos, more, err := h.catalog.ListRepos(r.Context(), after, want)
		if err != nil {
			return nil, false, err
		}

		for _, repo := range repos {
			after = repo
			if h.mayRead(r.user, repo) {
				found = append(found, repo)
			}
		}

		if !more || len(repos) == 0 || len(found) == n {
			return found, more, nil
		}
	}
}
