// Package admin is how commands speak to a zot that serves: JSON over HTTP, over a Unix
// socket in the root directory of its default store. Whoever may write to the socket, which
// is who runs zot, may ask for anything.
//
// calls.go lists what can be asked for. Each call stands there once, for both sides: a
// Server answers it from a Store, a Client is a Store that asks.
package admin

import (
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
}

// socketName is that of the socket in a root directory.
const socketName = ".zot.sock"

// SocketPath is where the zot that serves root listens.
func SocketPath(root string) string { return filepath.Join(root, socketName) }
