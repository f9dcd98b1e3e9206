package cache_test

import (
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/cache"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// Who waits for a lock of bbolt's in the moment in which a reader faults that holds it is stuck
// for ever, and known to be: see release. These are where its locks are taken.
func TestMain(m *testing.M) {
	var stuck []goleak.Option
	for _, name := range []string{"(*DB).beginTx", "(*DB).removeTx", "(*DB).beginRWTx", "(*DB).mmap", "(*Tx).writeMeta"} {
		stuck = append(stuck, goleak.IgnoreAnyFunction("go.etcd.io/bbolt."+name))
	}

	goleak.VerifyTestMain(m, stuck...)
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
