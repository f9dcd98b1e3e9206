package local

import (
	"context"
	"fmt"
	"iter"
	"path"
	"strings"
)

// ListLogs walks all directories but those that hold blobs or belong to the driver.
// As with List, what lies behind a symbolic link to a directory is left out.
func (r *Root) ListLogs(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		walk := logWalk{walk: walk{ctx: ctx, root: r.path}, yield: yield}
		walk.dir("")
	}
}

// logWalk is one loop over ListLogs.
type logWalk struct {
	walk

	yield func(string, error) bool
}

// dir yields the logs below prefix, and says whether to go on.
func (w *logWalk) dir(prefix string) bool {
	err := w.ctx.Err()

	var entries []entry
	if err == nil {
		entries, err = w.read(prefix)
	}

	if err != nil {
		w.yield("", fmt.Errorf("list logs below %q: %w", prefix, err))

		return false
	}

	if prefix != "" && w.hasLog(prefix, entries) && !w.yield(prefix, nil) {
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
	for _, entry := range entries {
		if entry.name == "index.json" {
			return true
		}
	}

	return exists(w.root + "/" + prefix + logDir)
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
