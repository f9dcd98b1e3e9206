package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/cache"
)

// keysOf lists the keys that each driver has besides its name. The keys of a driver
// that is not listed are not checked.
var keysOf = map[string][]string{
	cache.BoltName:     {},
	cache.RedisName:    cache.SettingKeys(cache.RedisName),
	cache.DynamoDBName: cache.SettingKeys(cache.DynamoDBName),
}

// cacheDriver checks which driver remembers where blobs are.
func (c *check) cacheDriver(path string, store *config.Store) {
	c.remoteCache(path, store)

	driver := store.CacheDriver
	if driver == nil {
		return
	}

	path += ".cacheDriver"
	name := driver.Name()

	switch name {
	case "":
		c.wrong(path+".name", "is missing", `name a driver, as "boltdb"`)

		return
	default:
		if known := storage.CacheNames(); !slices.Contains(known, name) {
			c.wrong(path+".name", fmt.Sprintf("there is no cache driver %q", name),
				"write one of "+strings.Join(known, ", "))
		}
	}

	c.driverKeys(path, driver)
	c.cacheSettings(path, driver)
}

// cacheSettings has the driver check its settings. What it says of a key that is not
// known is not as good as what driverKeys has said before.
func (c *check) cacheSettings(path string, driver config.Settings) {
	settings := maps.Clone(driver)
	delete(settings, "name")

	for _, mistake := range cache.CheckSettings(driver.Name(), settings) {
		c.wrong(join(path, mistake.Key), mistake.Problem, mistake.Remedy)
	}
}

// remoteCache compares upstream's key with the driver that is used all the same.
func (c *check) remoteCache(path string, store *config.Store) {
	if !c.set[path+".remoteCache"] || !store.Dedupe {
		return
	}

	name := store.CacheDriver.Name()
	remote := name == "redis" || name == "dynamodb"

	switch {
	case store.RemoteCache && !remote:
		c.warn(path+".remoteCache", "is true, but cacheDriver alone decides, and boltdb is used: it is local")
	case !store.RemoteCache && remote:
		c.warn(path+".remoteCache", "is false, but cacheDriver alone decides, and %s is used", name)
	}
}

func (c *check) driverKeys(path string, driver config.Settings) {
	known, listed := keysOf[driver.Name()]
	if !listed {
		return
	}

	for _, key := range slices.Sorted(maps.Keys(driver)) {
		same := func(name string) bool { return strings.EqualFold(name, key) }
		if key != "name" && !slices.ContainsFunc(known, same) {
			c.wrong(join(path, key), "unknown key", suggest(key, append([]string{"name"}, known...)))
		}
	}
}

// storageDriver checks where the bytes are.
func (c *check) storageDriver(path string, store *config.Store) {
	driver := store.StorageDriver
	if driver == nil {
		if store.RedirectBlobURL {
			c.wrong(path+".redirectBlobURL", "is true, but a local directory has no URLs to redirect to", "remove it")
		}

		return
	}

	path += ".storageDriver"

	const remedy = "leave storageDriver out to keep images in rootDirectory"

	switch name := driver.Name(); name {
	case "":
		c.wrong(path+".name", "is missing", "write one of s3, gcs, azure")
	case "s3":
		c.s3(path, store)
	case "gcs", "azure":
		c.refuse(path+".name", remedy)
	default:
		c.wrong(path+".name", fmt.Sprintf("there is no storage driver %q", name), remedy)
	}

	c.driverKeys(path, driver)
}
