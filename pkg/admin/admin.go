// Package admin is how commands speak to a zot that serves: JSON over HTTP, over a Unix
// socket in the root directory of its default store. Whoever may write to the socket, which
// is who runs zot, may ask for anything.
//
// calls.go lists what can be asked for. Each call stands there once, for both sides: a
// Server answers it from a Store, a Client is a Store that asks.
package admin

import (
	"context"
	"path/filepath"

	"zotregistry.io/zot/pkg/storage"
)

// Store is what can be asked for: of a process that serves, by a Client; or of the stores
// themselves, where no process has them open.
type Store interface {
	storage.Maintenance
	storage.History
	storage.Recovery
	storage.Purger
	storage.Checker
	Backups
}

// Backups copies all that is kept to a directory, and back.
type Backups interface {
	// Backup makes a directory hold what is kept now. tell is called with what has been done
	// so far.
	Backup(ctx context.Context, opts BackupOptions, tell func(storage.Copied)) (storage.Copied, error)

	// Restore brings back what a backup holds.
	//
	// Errors: storage.ErrRepoUnknown.
	Restore(ctx context.Context, opts RestoreOptions, tell func(storage.Copied)) (storage.Copied, error)
}

// BackupOptions say where a backup goes.
type BackupOptions struct {
	Dir      string `json:"directory"` // an absolute path, where the work is done
	NewStore bool   `json:"newStore"`  // a store may be new to a directory that is a backup of others
}

// RestoreOptions say what is brought back.
type RestoreOptions struct {
	Dir   string             `json:"directory"`    // of the backup, an absolute path
	Repos []storage.RepoName `json:"repositories"` // none = all
	Exact bool               `json:"exact"`        // what the backup does not have, goes
}

// socketName is that of the socket in a root directory.
const socketName = ".zot.sock"

// SocketPath is where the zot that serves root listens.
func SocketPath(root string) string { return filepath.Join(root, socketName) }
