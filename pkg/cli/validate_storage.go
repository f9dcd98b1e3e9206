package cli

import (
	"fmt"
	"strings"
	"time"

	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/storage"
)

// minBuffers is the least memory that uploads can share, in bytes: enough for the
// buffers of one.
const minBuffers = 1 << 20

// eachStore calls do with the path of each image store and its settings.
func (c *check) eachStore(do func(path string, store *config.Store)) {
	do(storePath(""), &c.cfg.Storage.Store)

	for _, prefix := range sortedNames(c.cfg.Storage.SubPaths) {
		sub := c.cfg.Storage.SubPaths[prefix]
		do(storePath(prefix), &sub.Store)
	}
}

func (c *check) storage() {
	for _, prefix := range sortedNames(c.cfg.Storage.SubPaths) {
		c.prefix(storePath(prefix), prefix)
	}

	c.eachStore(c.store)
	c.eachStore(c.cacheDriver)
	c.eachStore(c.storageDriver)
	c.eachStore(c.retention)
	c.eachStore(c.quotas)
	c.strayQuotas()

	if c.cfg.Storage.Buffers == 0 {
		c.wrong("storage.buffers", "is 0", "leave it out, or write a number of bytes, as 67108864")
	}
}

// prefix checks the prefix of a sub-path: a slash and the beginning of a name.
func (c *check) prefix(path, prefix string) {
	name, ok := strings.CutPrefix(prefix, "/")
	if _, err := storage.ParseRepoName(name); !ok || err != nil {
		c.wrong(path, fmt.Sprintf("%q is no prefix of repositories", prefix),
			`write a slash and the first part of their names, as "/infra"`)
	}
}

func (c *check) store(path string, store *config.Store) {
	if store.RootDirectory == "" {
		c.wrong(path+".rootDirectory", "is missing", `name the directory to keep images in, as "/var/lib/zot"`)
	}

	for key, d := range map[string]time.Duration{
		".gcDelay": store.GCDelay, ".gcInterval": store.GCInterval,
		".history": store.History, ".undelete": store.Undelete, ".lockWait": store.LockWait,
	} {
		c.notNegativeTime(path+key, d)
	}

	c.timeWindow(path+".gcTimeWindow", store.GCTimeWindow)
	c.notNegative(path+".maxRepos", store.MaxRepos)

	if store.MaxRepos > 0 {
		c.refuse(path+".maxRepos", "remove it: the number of repositories is not limited yet")
	}

	if b := store.Buffers; b < minBuffers && b != 0 {
		c.wrong(path+".buffers", fmt.Sprintf("%d bytes are too few for a single upload", b),
			fmt.Sprintf("write at least %d", minBuffers))
	}

	c.withoutEffect(path, store)
}

// withoutEffect warns of keys of a store that are safe to go on without.
func (c *check) withoutEffect(path string, store *config.Store) {
	if c.set[path+".history"] && !store.GC {
		c.warn(path+".history", "has no effect where gc is false: all history is kept")
	}

	if store.GC && store.GCInterval == 0 {
		c.warn(path+".gcInterval", "is 0: nothing is collected, as if gc were false")
	}

	bucket := store.StorageDriver != nil

	if bucket && c.set[path+".commit"] && !store.Commit {
		c.warn(path+".commit", "has no effect with a storageDriver: what a bucket has acknowledged is durable")
	}

	if bucket && c.set[path+".lockWait"] {
		c.warn(path+".lockWait", "has no effect with a storageDriver: no lock keeps other processes out of a bucket")
	}

	if c.set[path+".singleWriter"] && !bucket {
		c.warn(path+".singleWriter", "has no effect on local storage: a lock keeps other processes out")
	}
}

// timeWindow checks "HH:MM-HH:MM".
func (c *check) timeWindow(path, window string) {
	if _, err := parseWindow(window); err != nil {
		c.wrong(path, err.Error(), `write two times of the day in UTC, as "22:00-04:30"`)
	}
}

// parseWindow reads "HH:MM-HH:MM"; "" is the whole day.
func parseWindow(window string) (storage.Window, error) {
	if window == "" {
		return storage.Window{}, nil
	}

	var clocks [2]time.Duration

	from, to, ok := strings.Cut(window, "-")

	for i, clock := range []string{from, to} {
		at, err := time.Parse("15:04", clock)
		if err != nil || len(clock) != len("15:04") {
			ok = false
		}

		clocks[i] = time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute
	}

	switch {
	case !ok:
		return storage.Window{}, fmt.Errorf("%q is no time window", window)
	case clocks[0] == clocks[1]:
		return storage.Window{}, fmt.Errorf("%q ends when it begins", window)
	}

	return storage.Window{From: clocks[0], To: clocks[1]}, nil
}
