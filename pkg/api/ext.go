package api

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// extension is an entry of the list of extensions: distribution-spec,
// extensions/_oci.md.
type extension struct {
	Name        string   `json:"name"`
	URL         string   `json:"url"`
	Description string   `json:"description"`
	Endpoints   []string `json:"endpoints"`
}

// extensions are those that this server has.
func extensions(urls urls) []extension {
	return []extension{{
		Name:        "_oci",
		URL:         "https://github.com/opencontainers/distribution-spec/blob/main/extensions/_oci.md",
		Description: "lists the extensions of this registry; what has happened to a tag; deletes a repository",
		Endpoints: []string{
			urls.to("/v2/_oci/ext/discover"), urls.to("/v2/{name}/_oci/tag-history/{tag}"),
			urls.to("/v2/{name}/_oci/repository"),
		},
	}}
}

// discover lists the extensions.
func discover(urls urls) handler {
	return func(w *response, _ *request) error {
		data, err := json.Marshal(map[string][]extension{"extensions": extensions(urls)})
		if err != nil {
			return fmt.Errorf("encode extensions: %w", err)
		}

		return sendJSON(w, http.StatusOK, "application/json", data)
	}
}
