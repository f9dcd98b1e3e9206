package local

import (
	"context"
	"fmt"
	"iter"
	"os"
	"path"
	"slices"
	"strings"

	"zotregistry.io/zot/pkg/storage"
)

// ListLogs walks all directories but those that hold blobs or belong to the driver.
// As with List, what lies behind a symbolic link to a directory is left out.
func (r *Root) ListLogs(ctx context.Context) iter.Seq2[storage.LogInfo, error] {
	return func(yield func(storage.LogInfo, error) bool) {
		walk := logWalk{walk: walk{ctx: ctx, root: r.path}, yield: yield}
		walk.wanted = walk.hasLog
		walk.dir("")
	}
}

// ListStrays is the same walk for repositories to which blobs were sent, and nothing else: there
// are uploads, or were, and there is no log. What another program is writing has none.
func (r *Root) ListStrays(ctx context.Context) iter.Seq2[storage.LogInfo, error] {
	return func(yield func(storage.LogInfo, error) bool) {
		walk := logWalk{walk: walk{ctx: ctx, root: r.path}, yield: yield}
		walk.wanted = walk.isStray
		walk.dir("")
	}
}

// logWalk is one loop over ListLogs, or ListStrays.
type logWalk struct {
	walk

	wanted func(prefix string, entries []entry) bool
	yield  func(storage.LogInfo, error) bool
}

// dir yields the logs below prefix, and says whether to go on.
func (w *logWalk) dir(prefix string) bool {
	err := w.ctx.Err()

	var entries []entry
	if err == nil {
		entries, err = w.read(prefix)
	}

	if err != nil { // the others are listed all the same
		return w.yield(storage.LogInfo{}, fmt.Errorf("list logs below %q: %w", prefix, err)) && w.ctx.Err() == nil
	}

	if prefix != "" && w.wanted(prefix, entries) && !w.yield(w.info(prefix), nil) {
		return false
	}

	for _, entry := range entries {
		if entry.IsDir() && mayHoldRepos(prefix, entry.name) && !w.dir(prefix+entry.name) {
			return false
		}
	}

	return true
}

func (w *logWalk) hasLog(prefix string, entries []entry) bool {
	return has(entries, "index.json") || exists(w.root+"/"+prefix+logDir)
}

func (w *logWalk) isStray(prefix string, entries []entry) bool {
	return has(entries, uploadsDir+"/") && !w.hasLog(prefix, entries)
}

func has(entries []entry, name string) bool {
	return slices.ContainsFunc(entries, func(e entry) bool { return e.name == name })
}

// info looks at the names of a log's files: a journal goes when a checkpoint covers it.
func (w *logWalk) info(prefix string) storage.LogInfo {
	dir := w.root + "/" + prefix + logDir
	if stat, err := os.Lstat(dir); err != nil || !stat.IsDir() {
		return storage.LogInfo{Prefix: prefix}
	}

	names, _ := os.ReadDir(dir) // what cannot be read fails when it is opened
	behind := slices.ContainsFunc(names, func(name os.DirEntry) bool {
		return strings.HasPrefix(name.Name(), journalPrefix)
	})

	return storage.LogInfo{Prefix: prefix, Behind: behind}
}

// mayHoldRepos leaves out names that no repository has: those that do not begin with
// a letter or digit, and blobs/<algorithm>.
func mayHoldRepos(prefix, name string) bool {
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
		return false
	}

	return path.Base(prefix) != "blobs" || !isAlgorithm(name)
}

func isAlgorithm(name string) bool {
	return name == "sha256/" || name == "sha384/" || name == "sha512/"
}
