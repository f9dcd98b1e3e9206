package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/cache"
	"zotregistry.io/zot/pkg/storage/local"
	"zotregistry.io/zot/pkg/storage/s3"
)

// openStores opens the default store and those of the sub-paths. The caller closes
// them.
func openStores(ctx context.Context, cfg config.Storage, mode storeMode, log zerolog.Logger) (*storage.Stores, error) {
	var (
		memory = newBuffers(cfg.Store)
		opened []*storage.Store
	)

	open := func(key string, settings config.Store, memory *buffers) (*storage.Store, error) {
		store, err := openStore(ctx, settings, memory, mode, log)
		if err != nil {
			return nil, errors.Join(atKey(key, err), closeAll(ctx, opened))
		}

		opened = append(opened, store)

		return store, nil
	}

	def, err := open("storage", cfg.Store, memory)
	if err != nil {
		return nil, err
	}

	sub := map[string]*storage.Store{}

	for _, prefix := range sortedNames(cfg.SubPaths) {
		settings, shared := cfg.SubPaths[prefix].Store, memory
		if settings.Buffers > 0 {
			shared = newBuffers(settings)
		}

		if sub[prefix], err = open(storePath(prefix), settings, shared); err != nil {
			return nil, err
		}
	}

	return storage.NewStores(def, sub), nil
}

// storeMode is how stores are opened, beside their own settings.
type storeMode struct {
	passive   bool // they do nothing by themselves
	keepNames bool // those of repositories that are not there
	scrub     storage.ScrubSchedule
}

// servingMode is that of a process that serves.
func servingMode(ext config.Extensions) storeMode {
	if ext.Scrub == nil || !ext.Scrub.On() {
		return storeMode{}
	}

	return storeMode{scrub: storage.ScrubSchedule{Interval: ext.Scrub.Interval, Rate: defaultScrubRate}}
}

// atKey says which key of the configuration, at path or below it, err is about.
func atKey(path string, err error) error {
	var (
		setting *cache.SettingError
		bucket  *s3.SettingError
	)

	switch {
	case errors.As(err, &setting):
		return fmt.Errorf("%s.cacheDriver.%w", path, setting)
	case errors.As(err, &bucket):
		return fmt.Errorf("%s.storageDriver.%w", path, bucket)
	}

	return fmt.Errorf("%s: %w", path, err)
}

// buffers is memory that the uploads of one store share, or of several.
type buffers struct {
	disk   *storage.Buffers // what is copied to a disk
	bucket *storage.Buffers // what is copied to parts, which have the rest
	parts  *s3.Budget
}

// copyBuffers is memory between a client and the parts of uploads to a bucket, in bytes.
const copyBuffers = 4 << 20

// newBuffers returns memory of the size that cfg says. What is more goes to its root
// directory, where that is only a cache's.
func newBuffers(cfg config.Store) *buffers {
	return &buffers{
		disk: storage.NewBuffers(cfg.Buffers), bucket: storage.NewBuffers(copyBuffers),
		parts: s3.NewBudget(cfg.Buffers-copyBuffers, filepath.Join(cfg.RootDirectory, "_tmp")),
	}
}

// openStore opens one image store.
func openStore(
	ctx context.Context, cfg config.Store, memory *buffers, mode storeMode, log zerolog.Logger,
) (*storage.Store, error) {
	if cfg.StorageDriver != nil {
		return openBucket(ctx, cfg, memory, mode, log)
	}

	return openDirectory(ctx, cfg, memory, mode, log)
}

// lookAfter is how long other programs may meddle with a file before answers tell of it.
const lookAfter = time.Second

func openDirectory(
	ctx context.Context, cfg config.Store, memory *buffers, mode storeMode, log zerolog.Logger,
) (*storage.Store, error) {
	log = log.With().Str("root", cfg.RootDirectory).Logger()

	root, err := local.OpenRoot(ctx, local.RootOptions{
		Path:     cfg.RootDirectory,
		LockWait: cfg.LockWait,
		Commit:   cfg.Commit,
		Log:      log,
	})
	if err != nil {
		return nil, err
	}

	known, err := openCache(cfg, root.ID(), log)
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}

	store, err := local.NewStore(ctx, root, known, storage.Options{
		Log: log, Sparse: cfg.Sparse, Buffers: memory.disk, GC: gcOf(cfg), Passive: mode.passive,
		KeepNames: mode.keepNames, Scrub: mode.scrub, Quotas: quotasOf(cfg), LookAfter: lookAfter,
	})
	if err != nil {
		return nil, errors.Join(err, known.Close(), root.Close())
	}

	return store, nil
}

// quotasOf is what the configuration says of what pushes may fill.
func quotasOf(cfg config.Store) []storage.Quota {
	var quotas []storage.Quota

	for _, quota := range cfg.Quota {
		quotas = append(quotas, storage.Quota{
			Prefix: storage.RepoName(quota.Prefix), Bytes: quota.Bytes, Repositories: quota.Repositories,
		})
	}

	return quotas
}

// gcOf is what the configuration says of removing what nobody needs.
func gcOf(cfg config.Store) storage.GC {
	gc := storage.GC{
		Delay: cfg.GCDelay, Undelete: cfg.Undelete, History: cfg.History, Retention: retentionOf(cfg.Retention),
	}

	if cfg.GC {
		gc.Interval = cfg.GCInterval
		gc.Window, _ = parseWindow(cfg.GCTimeWindow)
	}

	return gc
}

// cacheName is the driver of a store's cache, where it has one.
func cacheName(cfg config.Store) string { return cmp.Or(cfg.CacheDriver.Name(), cache.BoltName) }

// cachesInFile says whether a store keeps its cache in its root directory.
func cachesInFile(cfg config.Store) bool { return cfg.Dedupe && cacheName(cfg) == cache.BoltName }

// openCache opens the cache of the store that is called id.
func openCache(cfg config.Store, id string, log zerolog.Logger) (storage.Cache, error) {
	if !cfg.Dedupe {
		return storage.NoCache{}, nil
	}

	settings := maps.Clone(cfg.CacheDriver)
	delete(settings, "name")

	return storage.Create(cacheName(cfg), storage.CacheOptions{
		Directory: cfg.RootDirectory,
		Namespace: id,
		Settings:  settings,
		Log:       log,
	})
}

// closeAll closes stores that will not be used. It is not bound to the end of ctx.
func closeAll(ctx context.Context, stores []*storage.Store) error {
	errs := make([]error, len(stores))
	for i, store := range stores {
		errs[i] = store.Close(context.WithoutCancel(ctx))
	}

	return errors.Join(errs...)
}

// closeStores writes the checkpoints of all stores, and says how long that took.
func closeStores(ctx context.Context, stores *storage.Stores, log zerolog.Logger) error {
	start := time.Now()

	if err := stores.Close(ctx); err != nil {
		return fmt.Errorf("close the stores: %w", err)
	}

	log.Info().Dur("took", time.Since(start)).Msg("stopped")

	return nil
}
