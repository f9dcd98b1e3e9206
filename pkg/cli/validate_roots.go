package cli

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"zotregistry.io/zot/pkg/api/config"
)

// root is where a store keeps its bytes.
type root struct {
	key  string // path of the key that says so
	kind string // roots of different kinds are never the same
	path string // absolute, symbolic links resolved
}

// roots checks that no two stores keep their bytes, or the file of their cache, in the
// same place, or one inside the other.
func (c *check) roots() {
	var known []root

	c.eachStore(func(path string, store *config.Store) {
		for _, r := range c.rootsOf(path, store) {
			for _, other := range known {
				c.apart(r, other)
			}

			known = append(known, r)
		}
	})
}

func (c *check) rootsOf(key string, store *config.Store) []root {
	var all []root

	if driver := store.StorageDriver; driver != nil {
		kind := strings.Join([]string{driver.Name(), driver.String("regionendpoint"), driver.String("bucket")}, " ")
		all = append(all, root{key + ".storageDriver.rootdirectory", kind, path.Clean("/" + driver.String("rootdirectory"))})
	}

	if store.StorageDriver == nil || cachesInFile(*store) {
		if r, ok := c.directory(key+".rootDirectory", store); ok {
			all = append(all, r)
		}
	}

	return all
}

// directory is that of a store, unless it is not named, or none.
func (c *check) directory(key string, store *config.Store) (root, bool) {
	if store.RootDirectory == "" {
		return root{}, false
	}

	resolved, err := resolve(store.RootDirectory)
	if err != nil {
		c.wrong(key, err.Error(), "name a directory that zot may write to")

		return root{}, false
	}

	if info, err := os.Stat(resolved); err == nil && !info.IsDir() {
		c.wrong(key, resolved+" is not a directory", "name a directory that zot may write to")
	}

	return root{key, "local", resolved}, true
}

func (c *check) apart(a, b root) {
	if a.kind != b.kind {
		return
	}

	const remedy = "give each store a directory of its own"

	switch {
	case a.path == b.path:
		c.wrong(a.key, fmt.Sprintf("is the same place as %s (%s)", b.key, a.path), remedy)
	case inside(a.path, b.path):
		c.wrong(a.key, fmt.Sprintf("%s is inside %s (%s)", a.path, b.key, b.path), remedy)
	case inside(b.path, a.path):
		c.wrong(a.key, fmt.Sprintf("%s holds %s (%s)", a.path, b.key, b.path), remedy)
	}
}

func inside(path, parent string) bool {
	return strings.HasPrefix(path, strings.TrimSuffix(parent, "/")+"/")
}

// resolve returns dir as an absolute path without symbolic links. What does not exist
// yet is taken as it is named.
func resolve(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", dir, err)
	}

	missing := ""

	for at := abs; ; at = filepath.Dir(at) {
		resolved, err := filepath.EvalSymlinks(at)
		if err == nil {
			return filepath.Join(resolved, missing), nil
		}

		if !os.IsNotExist(err) || at == filepath.Dir(at) {
			return "", fmt.Errorf("find %s: %w", dir, err)
		}

		missing = filepath.Join(filepath.Base(at), missing)
	}
}

// writable checks that a file could be made, or appended to, without doing so.
func (c *check) writable(key, file string) {
	const remedy = "name a file in a directory that exists"

	if info, err := os.Stat(filepath.Dir(file)); err != nil {
		c.wrong(key, err.Error(), remedy)
	} else if !info.IsDir() {
		c.wrong(key, filepath.Dir(file)+" is not a directory", remedy)
	} else if info, err := os.Stat(file); err == nil && info.IsDir() {
		c.wrong(key, file+" is a directory", remedy)
	}
}
