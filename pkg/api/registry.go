// Package api speaks HTTP: the OCI distribution-spec on one side, the roles of
// pkg/storage on the other. It knows no disk, no bucket and no configuration file.
//
// A request goes through serve.go once: router.go parses its path into a target,
// auth.go says who sent it, a handler calls a role, errors.go tells an error to the
// client, and accesslog.go writes one line.
package api

import (
	"zotregistry.io/zot/pkg/auth"
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
}

// mayRead says whether a user may read a repository. Called concurrently.
type mayRead func(user auth.User, repo storage.RepoName) bool

// everyoneMayRead holds where no access control is configured.
func everyoneMayRead(auth.User, storage.RepoName) bool { return true }
