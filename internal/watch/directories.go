package watch

import (
	"os"
	"path/filepath"
	"slices"
)

// maxLinks is how many symbolic links the kernel follows, and so do we.
const maxLinks = 40

// follow asks for events in the directories of files, and in those that links lead through. A
// directory that cannot be watched, since it is not there or there are too many, is polled.
// w.mu is held.
func (w *Watcher) follow(files []string) {
	if w.events == nil {
		return
	}

	var wanted []string
	for _, file := range files {
		wanted = append(wanted, directoriesOf(file)...)
	}

	watched := w.events.WatchList()

	for _, dir := range watched {
		if !slices.Contains(wanted, dir) {
			_ = w.events.Remove(dir) // it may have gone by itself
		}
	}

	for _, dir := range wanted {
		if !slices.Contains(watched, dir) {
			_ = w.events.Add(dir) // what cannot be added is polled
		}
	}
}

// directoriesOf returns the real paths of the directories in which an entry can be changed so
// that another file is found at path.
func directoriesOf(path string) []string {
	var dirs []string

	for range maxLinks {
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			return dirs
		}

		dirs = append(dirs, linksOf(filepath.Dir(path))...)
		dirs = append(dirs, dir)

		target, err := os.Readlink(path)
		if err != nil {
			return dirs
		}

		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}

		path = target
	}

	return dirs
}

// linksOf returns the real directories of the symbolic links that are parts of a directory's
// path: ..data, and what leads to it.
func linksOf(dir string) []string {
	var dirs []string

	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		info, err := os.Lstat(dir)
		if err != nil || info.Mode()&os.ModeSymlink == 0 {
			continue
		}

		if parent, err := filepath.EvalSymlinks(filepath.Dir(dir)); err == nil {
			dirs = append(dirs, parent)
		}
	}

	return dirs
}
