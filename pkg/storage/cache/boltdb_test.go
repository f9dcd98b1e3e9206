package cache_test

import (
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/cache"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// A writer that is about to take a lock of bbolt in the moment in which a reader
// faults with that lock held is stuck for ever, and known to be: see release.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("go.etcd.io/bbolt.(*Tx).writeMeta"))
}

func options(tb testing.TB) cache.BoltOptions {
	tb.Helper()

	return cache.BoltOptions{Directory: tb.TempDir(), Namespace: "test", Log: zerolog.Nop()}
}

func openBoltDB(tb testing.TB, opts cache.BoltOptions) storage.Cache {
	tb.Helper()

	opened, err := cache.OpenBoltDB(opts)
	if err != nil {
		tb.Fatal(err)
	}

	return opened
}

func TestBoltDB(t *testing.T) {
	storagetest.TestCache(t, func(t *testing.T) storage.Cache { return openBoltDB(t, options(t).Patient()) })
}

func BenchmarkBoltDB(b *testing.B) {
	storagetest.BenchmarkCache(b, func(b *testing.B) storage.Cache { return openBoltDB(b, options(b)) })
}
