// Package api speaks HTTP: the OCI distribution-spec on one side, the roles of
// pkg/storage on the other. It knows no disk, no bucket and no configuration file.
//
// A request goes through serve.go once: router.go parses its path into a target,
// auth.go says who sent it, access.go whether he may, a handler calls a role, errors.go
// tells an error to the client, and accesslog.go writes one line.
package api

import (
	"context"

	"zotregistry.io/zot/pkg/storage"
)

// Registry is what a Server serves: all the roles of a store. Each handler takes
// only the role that it needs.
type Registry interface {
	storage.Blobs
	storage.Uploads
	storage.Manifests
	storage.Tags
	storage.Referrers
	storage.Catalog
	storage.History
	storage.Notes
	repoDeleter
}

// repoDeleter is what is needed of storage.Recovery.
type repoDeleter interface {
	DeleteRepo(ctx context.Context, repo storage.RepoName, who string) error
}
