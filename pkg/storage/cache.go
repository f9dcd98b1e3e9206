package storage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/storage/cache"
)

// Cache remembers which keys of one image store hold a digest, so that equal bytes
// are stored once. It is a hint, never the truth: each answer is checked by using
// it, it may forget anything at any time, and no request fails because it does.
// Methods may be called concurrently.
//
// storagetest.TestCache holds every driver to this page.
type Cache interface {
	// Name is the name of the driver, as in the configuration.
	Name() string

	// GetBlob returns one key that holds dgst: the first that was put and is not
	// deleted.
	//
	// Errors: ErrCacheMiss.
	GetBlob(ctx context.Context, dgst digest.Digest) (string, error)

	// GetAllBlobs returns keys that hold dgst, the one of GetBlob first, and no more
	// than limit of them; a negative limit is none. The empty config is in every
	// repository of some registries, and nobody wants 65,000 keys from a network.
	//
	// Errors: ErrCacheMiss.
	GetAllBlobs(ctx context.Context, dgst digest.Digest, limit int) ([]string, error)

	// PutBlob remembers that key holds dgst. It is visible in this process when it
	// returns. Putting a pair again changes nothing.
	//
	// Errors: ErrCachePair.
	PutBlob(ctx context.Context, dgst digest.Digest, key string) error

	// HasBlob says whether key is remembered as holding dgst.
	HasBlob(ctx context.Context, dgst digest.Digest, key string) (bool, error)

	// DeleteBlob forgets that key holds dgst. Forgetting what is not known is no
	// error.
	DeleteBlob(ctx context.Context, dgst digest.Digest, key string) error

	// Close writes what is not yet written, and lets go. Closing again does nothing;
	// every other method then returns an error.
	Close() error
}

// CacheOptions are what a driver of Cache is opened with.
type CacheOptions struct {
	Directory string         // the image store's root if that is local, "" if it is not
	Namespace string         // the id of the image store, for drivers that keep several
	Settings  map[string]any // what cacheDriver in the configuration has beside name
	Log       zerolog.Logger
}

// OpenCache opens a cache. It returns a cache or an error.
type OpenCache func(opts CacheOptions) (Cache, error)

// cacheDrivers are the drivers by name. Like the drivers of database/sql they belong
// to the program and not to a store: a package adds its own in an init.
var cacheDrivers = struct {
	sync.RWMutex

	open map[string]OpenCache
}{open: map[string]OpenCache{
	cache.BoltName:     openBoltDB,
	cache.RedisName:    openRedis,
	cache.DynamoDBName: openDynamoDB,
}}

// Register adds a driver under a name, so that a database of which zot knows nothing,
// such as a vendor's own, can be used without a change to zot. It is to be called
// from an init; a name that is empty or taken is a bug, and panics.
func Register(name string, open OpenCache) {
	cacheDrivers.Lock()
	defer cacheDrivers.Unlock()

	if name == "" || open == nil {
		panic("storage: a cache driver needs a name and a function that opens it")
	}

	if _, taken := cacheDrivers.open[name]; taken {
		panic(fmt.Sprintf("storage: two cache drivers are named %q", name))
	}

	cacheDrivers.open[name] = open
}

// CacheNames returns the names that Create knows, sorted.
func CacheNames() []string {
	cacheDrivers.RLock()
	defer cacheDrivers.RUnlock()

	return slices.Sorted(maps.Keys(cacheDrivers.open))
}

// Create opens a cache of the driver named. The caller closes it.
func Create(name string, opts CacheOptions) (Cache, error) {
	cacheDrivers.RLock()
	open, ok := cacheDrivers.open[name]
	cacheDrivers.RUnlock()

	if !ok {
		return nil, fmt.Errorf("cache driver %q is not known; known are: %s", name, strings.Join(CacheNames(), ", "))
	}

	opened, err := open(opts)
	if err != nil {
		return nil, fmt.Errorf("cache driver %s: %w", name, err)
	}

	if opened == nil {
		return nil, fmt.Errorf("cache driver %s: it returned neither a cache nor an error", name)
	}

	return opened, nil
}

func openBoltDB(opts CacheOptions) (Cache, error) {
	if opts.Directory == "" {
		return nil, errors.New("it keeps a file and needs a local directory")
	}

	if len(opts.Settings) > 0 {
		return nil, fmt.Errorf("it has no settings, but was given: %s",
			strings.Join(slices.Sorted(maps.Keys(opts.Settings)), ", "))
	}

	opened, err := cache.OpenBoltDB(cache.BoltOptions{
		Directory: opts.Directory,
		Namespace: opts.Namespace,
		Log:       opts.Log,
	})
	if err != nil {
		return nil, err // not opened: a nil *BoltDB in a Cache is not nil
	}

	return opened, nil
}

func openRedis(opts CacheOptions) (Cache, error) {
	opened, err := cache.OpenRedis(cache.RedisOptions{
		Namespace: opts.Namespace,
		Settings:  opts.Settings,
		Log:       opts.Log,
	})
	if err != nil {
		return nil, err // not opened: a nil *Redis in a Cache is not nil
	}

	return opened, nil
}

func openDynamoDB(opts CacheOptions) (Cache, error) {
	opened, err := cache.OpenDynamoDB(cache.DynamoDBOptions{
		Namespace: opts.Namespace,
		Settings:  opts.Settings,
		Log:       opts.Log,
	})
	if err != nil {
		return nil, err // not opened: a nil *DynamoDB in a Cache is not nil
	}

	return opened, nil
}

// NoCache is the cache of a store without dedupe: it knows nothing. The zero value is
// ready for use.
type NoCache struct{}

// Name is "none".
func (NoCache) Name() string { return "none" }

// GetBlob always misses.
func (NoCache) GetBlob(context.Context, digest.Digest) (string, error) { return "", ErrCacheMiss }

// GetAllBlobs always misses.
func (NoCache) GetAllBlobs(context.Context, digest.Digest, int) ([]string, error) {
	return nil, ErrCacheMiss
}

// PutBlob does nothing.
func (NoCache) PutBlob(context.Context, digest.Digest, string) error { return nil }

// HasBlob is always false.
func (NoCache) HasBlob(context.Context, digest.Digest, string) (bool, error) { return false, nil }

// DeleteBlob does nothing.
func (NoCache) DeleteBlob(context.Context, digest.Digest, string) error { return nil }

// Close does nothing.
func (NoCache) Close() error { return nil }
