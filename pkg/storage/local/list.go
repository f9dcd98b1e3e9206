package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"zotregistry.io/zot/pkg/storage"
)

// List walks the directory of prefix. A directory whose keys all come before after
// is not read. What the driver keeps for itself is left out, and so is what lies
// behind a symbolic link, and what is no regular file.
//
// A file that is removed during the walk may or may not be yielded.
func (r *Root) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		if prefix != "" && (!strings.HasSuffix(prefix, "/") || !fs.ValidPath(strings.TrimSuffix(prefix, "/"))) {
			yield(storage.Info{}, fmt.Errorf("list: prefix %q: %w", prefix, fs.ErrInvalid))

			return
		}

		if err := r.checkDirs(prefix); err != nil {
			yield(storage.Info{}, fmt.Errorf("list %s: %w", prefix, err))

			return
		}

		walk := walk{ctx: ctx, root: r.path, after: after, yield: yield}
		walk.dir(prefix)
	}
}

// walk is one loop over List.
type walk struct {
	ctx   context.Context //nolint:containedctx // lives as long as the call it belongs to
	root  string
	after string
	yield func(storage.Info, error) bool
}

// entry is a name in a directory; that of a directory ends in a slash, so that
// entries sort as the keys below them do: "a-b" before "a/c".
type entry struct {
	name string
	fs.DirEntry
}

// dir yields all below prefix, and says whether to go on.
func (w *walk) dir(prefix string) bool {
	if err := w.ctx.Err(); err != nil {
		return w.fail(prefix, err)
	}

	entries, err := w.read(prefix)
	if err != nil {
		return w.fail(prefix, err)
	}

	for _, entry := range entries {
		if !w.entry(prefix+entry.name, entry) {
			return false
		}
	}

	return true
}

func (w *walk) fail(prefix string, err error) bool {
	w.yield(storage.Info{}, fmt.Errorf("list %s: %w", prefix, err))

	return false
}

func (w *walk) read(prefix string) ([]entry, error) {
	dir, err := os.Open(w.root + "/" + prefix)
	if gone(err) {
		return nil, nil
	}

	if err != nil {
		return nil, err
	}

	names, err := dir.ReadDir(-1)
	if gone(err) { // it was removed since it was opened
		err = nil
	}

	if err := errors.Join(err, dir.Close()); err != nil {
		return nil, err
	}

	entries := make([]entry, 0, len(names))

	for _, name := range names {
		if private(prefix, name.Name()) {
			continue
		}

		if name.IsDir() {
			entries = append(entries, entry{name.Name() + "/", name})
		} else {
			entries = append(entries, entry{name.Name(), name})
		}
	}

	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })

	return entries, nil
}

// gone says that what was to be listed is no longer, or was never, there.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)
}

// private says that a name in the directory of prefix is no key.
func private(prefix, name string) bool {
	switch {
	case prefix == "":
		return name == tempDir || name == privateDir || name == lockName || name == "lost+found"
	case name == logDir:
		return true
	}

	return path.Base(prefix) == uploadsDir && strings.HasSuffix(name, noteSuffix)
}

func (w *walk) entry(key string, entry entry) bool {
	if entry.IsDir() {
		if key < w.after && !strings.HasPrefix(w.after, key) {
			return true
		}

		return w.dir(key)
	}

	if key <= w.after {
		return true
	}

	info, ok, err := w.info(key, entry)
	if err != nil {
		return w.fail(key, err)
	}

	return !ok || w.yield(info, nil)
}

// info looks at a file; ok says whether it is an object.
func (w *walk) info(key string, entry entry) (info storage.Info, ok bool, err error) {
	stat, err := entry.Info()

	if gone(err) {
		return storage.Info{}, false, nil
	}

	if err != nil {
		return storage.Info{}, false, err
	}

	return storage.Info{Key: key, Size: stat.Size(), Modified: stat.ModTime()}, stat.Mode().IsRegular(), nil
}

// exists says whether there is something at path.
func exists(path string) bool {
	_, err := os.Lstat(path)

	return err == nil
}
