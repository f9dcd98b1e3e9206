package cli

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/storage"
)

// keysOf lists the keys that each driver has besides its name, in lower case. What
// is known of a driver but not listed is not checked.
var keysOf = map[string][]string{
	"boltdb": {},
	"redis": {
		"url", "addr", "username", "password", "db", "client_name", "protocol", "master_name",
		"sentinel_username", "sentinel_password", "keyprefix", "pool_size", "pool_timeout",
		"dial_timeout", "read_timeout", "write_timeout", "max_retries", "min_idle_conns",
		"max_idle_conns", "conn_max_idle_time", "conn_max_lifetime",
	},
	"dynamodb": {
		"region", "endpoint", "cachetablename", "repometatablename", "imagemetatablename",
		"repoblobsinfotablename", "userdatatablename", "apikeytablename", "versiontablename",
	},
	"s3": {
		"rootdirectory", "region", "regionendpoint", "bucket", "accesskey", "secretkey",
		"sessiontoken", "forcepathstyle", "secure", "skipverify", "encrypt", "keyid",
		"storageclass", "useragent", "chunksize", "multipartcopychunksize",
		"multipartcopymaxconcurrency", "multipartcopythresholdsize", "objectacl",
	},
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
	case "redis":
		c.redis(path, driver)
		c.refuse(path+".name", `write "boltdb", or leave cacheDriver out`)
	case "dynamodb":
		c.required(path, driver, "cachetablename", "cacheTablename", "the table that digests are kept in")
		c.refuse(path+".name", `write "boltdb", or leave cacheDriver out`)
	default:
		if known := storage.CacheNames(); !slices.Contains(known, name) {
			c.wrong(path+".name", fmt.Sprintf("there is no cache driver %q", name),
				"write one of "+strings.Join(known, ", "))
		}
	}

	c.driverKeys(path, driver)
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

func (c *check) redis(path string, driver config.Settings) {
	if driver["addr"] == nil {
		c.required(path, driver, "url", "url", "where redis is")
	}

	address, err := url.Parse(driver.String("url"))
	if err != nil {
		// The error is not quoted: the address may hold a password.
		c.wrong(path+".url", "is no URL", `write it as "redis://host:6379/0"`)
	} else if address.String() != "" && address.Scheme != "redis" && address.Scheme != "rediss" {
		c.wrong(path+".url", fmt.Sprintf("has the scheme %q", address.Scheme), "write redis:// or rediss://")
	}
}

func (c *check) required(path string, driver config.Settings, key, name, what string) {
	if driver.String(key) == "" {
		c.wrong(join(path, name), "is missing", "name "+what)
	}
}

func (c *check) driverKeys(path string, driver config.Settings) {
	known, listed := keysOf[driver.Name()]
	if !listed {
		return
	}

	for _, key := range slices.Sorted(maps.Keys(driver)) {
		if key != "name" && !slices.Contains(known, key) {
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
		c.required(path, driver, "bucket", "bucket", "the bucket to keep images in")
		c.refuse(path+".name", remedy)
	case "gcs", "azure":
		c.refuse(path+".name", remedy)
	default:
		c.wrong(path+".name", fmt.Sprintf("there is no storage driver %q", name), remedy)
	}

	c.driverKeys(path, driver)
}
