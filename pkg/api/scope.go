package api

import (
	"net/http"

	"zotregistry.io/zot/pkg/auth"
	"zotregistry.io/zot/pkg/storage"
)

// tokenNeeds is what a token must allow for a request. What is not about a repository needs
// none but a good token.
func tokenNeeds(r *request) auth.Access {
	switch {
	case r.endpoint == endpointCatalog, r.endpoint == endpointProfile:
		return auth.Access{Type: "registry", Name: "catalog", Actions: []string{"*"}}
	case r.repo == "":
		return auth.Access{}
	}

	return repositoryAccess(r.repo, tokenActions(r)...)
}

func repositoryAccess(repo storage.RepoName, actions ...string) auth.Access {
	return auth.Access{Type: "repository", Name: string(repo), Actions: actions}
}

// tokenActions are the actions on its repository that a request needs. Uploads are all of
// a push, also to ask how far they are and to cancel them.
func tokenActions(r *request) []string {
	upload := r.endpoint == endpointUpload || r.endpoint == endpointUploads

	switch {
	case upload:
		return []string{"pull", "push"}
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		return []string{"pull"}
	case r.Method == http.MethodDelete:
		return []string{"delete"}
	}

	return []string{"pull", "push"}
}
