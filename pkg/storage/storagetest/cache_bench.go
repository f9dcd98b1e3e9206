package storagetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
)

// BenchmarkCache measures a driver of storage.Cache: hit, miss, put and delete, by 1
// and by 16 clients, on caches of 1,000 to 1,000,000 digests (up to 100,000 with
// -short). Beside the throughput, as operations per second of all clients together,
// it reports the latencies that half and 99 of 100 operations did not exceed, in
// microseconds. Operations on what is in the cache find it written, if the driver
// writes behind. The benchmark of a driver is
//
//	func BenchmarkBoltDB(b *testing.B) { storagetest.BenchmarkCache(b, openBoltDB) }
func BenchmarkCache(b *testing.B, open func(b *testing.B) storage.Cache) {
	for _, size := range []int{1000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("digests=%d", size), func(b *testing.B) {
			if size > 100_000 && testing.Short() {
				b.Skip("short")
			}

			bench := cacheBench{cache: open(b), size: size}
			bench.fill(b, 0, size)

			for _, o := range cacheOps {
				for _, clients := range []int{1, 16} {
					b.Run(fmt.Sprintf("%s/clients=%d", o.name, clients), func(b *testing.B) {
						bench.run(b, o, clients)
					})
				}
			}

			if err := bench.cache.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// cacheBench is a cache with the digests 0 to size.
type cacheBench struct {
	cache storage.Cache
	size  int
	next  int // digests from this one on were never put
}

// cacheOp is an operation to measure: the i-th of b.N.
type cacheOp struct {
	name string
	fill bool // digests from next on are to be put first
	do   func(bench *cacheBench, b *testing.B, i int) error
}

var cacheOps = []cacheOp{
	{name: "hit", do: func(bench *cacheBench, b *testing.B, i int) error {
		_, err := bench.cache.GetBlob(b.Context(), benchDigest(spread(i)%bench.size))

		return err
	}},
	{name: "miss", do: func(bench *cacheBench, b *testing.B, i int) error {
		_, err := bench.cache.GetBlob(b.Context(), benchDigest(-1-i))
		if errors.Is(err, storage.ErrCacheMiss) {
			return nil
		}

		return fmt.Errorf("no miss: %w", err)
	}},
	{name: "put", do: func(bench *cacheBench, b *testing.B, i int) error {
		return bench.cache.PutBlob(b.Context(), benchDigest(bench.next+i), benchKey(bench.next+i))
	}},
	{name: "delete", fill: true, do: func(bench *cacheBench, b *testing.B, i int) error {
		return bench.cache.DeleteBlob(b.Context(), benchDigest(bench.next+i), benchKey(bench.next+i))
	}},
}

// spread visits the digests in no order: the factor is a prime.
func spread(i int) int { return i * 7919 }

func benchDigest(i int) digest.Digest { return digest.FromString(fmt.Sprint("blob ", i)) }

// benchKey is as the engine's: a repository has ten blobs.
func benchKey(i int) string {
	return storage.BlobKey(storage.RepoName(fmt.Sprintf("library/repository-%d", i/10)), benchDigest(i))
}

// fill puts the digests from first on, and has them written.
func (bench *cacheBench) fill(b *testing.B, first, n int) {
	b.Helper()

	for i := first; i < first+n; i++ {
		if err := bench.cache.PutBlob(b.Context(), benchDigest(i), benchKey(i)); err != nil {
			b.Fatal(err)
		}
	}

	bench.next = max(bench.next, first+n)
	bench.flush(b)
}

func (bench *cacheBench) flush(b *testing.B) {
	b.Helper()

	if cache, ok := bench.cache.(flusher); ok {
		if err := cache.Flush(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// run measures b.N operations.
func (bench *cacheBench) run(b *testing.B, o cacheOp, clients int) {
	b.Helper()

	if o.fill {
		first := bench.next
		bench.fill(b, first, b.N)
		bench.next = first
	}

	latencies := make([]time.Duration, b.N)

	b.ReportAllocs()
	b.ResetTimer()
	bench.drive(b, o, clients, latencies)
	b.StopTimer()

	bench.next += b.N
	bench.flush(b) // so that the next does not pay for it

	slices.Sort(latencies)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	b.ReportMetric(micros(latencies[b.N/2]), "p50-µs")
	b.ReportMetric(micros(latencies[b.N*99/100]), "p99-µs")
}

// drive has each client do every clients-th operation.
func (bench *cacheBench) drive(b *testing.B, o cacheOp, clients int, latencies []time.Duration) {
	b.Helper()

	var group sync.WaitGroup

	for client := range clients {
		group.Go(func() {
			for i := client; i < b.N; i += clients {
				start := time.Now()
				err := o.do(bench, b, i)
				latencies[i] = time.Since(start)

				if err != nil {
					b.Errorf("%s: %v", o.name, err)

					return
				}
			}
		})
	}

	group.Wait()
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
