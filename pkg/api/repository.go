package api

import (
	"fmt"
	"net/http"
)

// repositoryHandler answers /v2/<repo>/_oci/repository.
type repositoryHandler struct{ repos repoDeleter }

// delete deletes a repository whole, for a while so that it can be brought back
// (docs/history.md).
func (h repositoryHandler) delete(w *response, r *request) error {
	if err := h.repos.DeleteRepo(r.Context(), r.repo, r.user.Name); err != nil {
		return fmt.Errorf("delete repository: %w", err)
	}

	w.WriteHeader(http.StatusAccepted)

	return nil
}
