package api

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"strings"

	"zotregistry.io/zot/pkg/storage"
)

// catalogHandler answers /v2/_catalog.
type catalogHandler struct {
	catalog storage.Catalog
	urls    urls
}

// answer lists the repositories that the user may read, all of them if the client does
// not say how many.
func (h catalogHandler) answer(w *response, r *request) error {
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

// readable fills a page of n (-1 = all) with what the user may read, and says whether there
// is more of it: what he may not read leaves no trace. Only the parts of the catalog in which
// there may be something for him are gone through.
func (h catalogHandler) readable(r *request, after storage.RepoName, n int) ([]storage.RepoName, bool, error) {
	found := []storage.RepoName{} // [], not null

	if n == 0 {
		return found, false, nil
	}

	for _, part := range r.doors.rules.Readable(r.user) {
		for repo, err := range h.within(r.Context(), part, after) {
			if err != nil {
				return nil, false, err
			}

			if !r.mayRead(repo) {
				continue
			}

			if len(found) == n {
				return found, true, nil
			}

			found = append(found, repo)
		}
	}

	return found, false, nil
}

// catalogBatch is how many repositories are asked for at a time.
const catalogBatch = 1000

// within yields the repositories of a part of the catalog (access.Rules.Readable) after the
// one named, in byte order.
func (h catalogHandler) within(
	ctx context.Context, part string, after storage.RepoName,
) iter.Seq2[storage.RepoName, error] {
	name := storage.RepoName(part)
	holds := func(repo storage.RepoName) bool { return strings.HasPrefix(string(repo), part) }

	switch directory := part == "" || strings.HasSuffix(part, "/"); {
	case directory && after > name && !holds(after), !directory && after >= name:
		return func(func(storage.RepoName, error) bool) {} // all of it comes before
	case directory:
		return h.list(ctx, max(after, name), catalogBatch, holds)
	default:
		return h.list(ctx, justBefore(name), 1, func(repo storage.RepoName) bool { return repo == name })
	}
}

// justBefore returns what no repository comes between and name.
func justBefore(name storage.RepoName) storage.RepoName {
	last := len(name) - 1

	return name[:last] + storage.RepoName(name[last]-1) + "\x7f"
}

// list yields repositories after the one named, up to the first one that is not wanted. It
// asks for some at a time.
func (h catalogHandler) list(
	ctx context.Context, after storage.RepoName, batch int, wanted func(storage.RepoName) bool,
) iter.Seq2[storage.RepoName, error] {
	return func(yield func(storage.RepoName, error) bool) {
		for more := true; more; {
			var (
				repos []storage.RepoName
				err   error
			)

			if repos, more, err = h.catalog.ListRepos(ctx, after, batch); err != nil {
				yield("", err)

				return
			}

			for _, repo := range repos {
				if after = repo; !wanted(repo) || !yield(repo, nil) {
					return
				}
			}
		}
	}
}
