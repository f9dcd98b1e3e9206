//go:build remote

package s3_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"zotregistry.io/zot/internal/faultproxy"
	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// seedEnv is a seed of TestChaos, to run one again.
const seedEnv = "S3_SEED"

func seeds(t *testing.T) []uint64 {
	t.Helper()

	value := os.Getenv(seedEnv)
	if value == "" {
		return []uint64{1, 2, uint64(time.Now().UnixNano()) % 1_000_000} //nolint:gosec // any will do
	}

	seed, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		t.Fatal(err)
	}

	return []uint64{seed}
}

// TestChaos runs the contract suites while one request in ten or so meets a fault. What
// a driver and a store promise is so all the same.
func TestChaos(t *testing.T) {
	b := newBench(t)

	for _, seed := range seeds(t) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Logf("%s=%d runs this again", seedEnv, seed)
			b.proxy.Reset()
			b.proxy.Seed(seed)

			for _, rule := range chaos() {
				b.proxy.Inject(rule)
			}

			t.Run("driver", func(t *testing.T) {
				storagetest.TestDriver(t, func(t *testing.T) storage.Driver { return mustOpen(t, b.proxied()) })
			})
			t.Run("replicas", func(t *testing.T) {
				storagetest.TestReplicas(t, func(t *testing.T) (x, y storage.Driver) {
					opts := b.proxied()

					return mustOpen(t, opts), mustOpen(t, opts)
				})
			})

			for name, dedupe := range map[string]bool{"store with dedupe": true, "store without": false} {
				t.Run(name, func(t *testing.T) {
					storagetest.TestStore(t, func(t *testing.T) (storage.Driver, storage.Cache) {
						opts := b.proxied()
						opts.Dedupe = dedupe

						return mustOpen(t, opts), storagetest.NewMapCache()
					})
				})
			}
		})
	}
}

// chaos is what may happen to a request.
func chaos() []faultproxy.Rule {
	slow := faultproxy.On(faultproxy.CompleteMultipartUpload, faultproxy.CopyObject, faultproxy.UploadPartCopy)
	writes := faultproxy.On(faultproxy.PutObject, faultproxy.CompleteMultipartUpload)

	return []faultproxy.Rule{
		{Kind: faultproxy.SlowDown, Chance: 0.02},
		{Kind: faultproxy.InternalError, Chance: 0.01},
		{Kind: faultproxy.InternalError, After: true, Chance: 0.01},
		{Kind: faultproxy.ConnReset, Chance: 0.02},
		{Kind: faultproxy.ConnReset, After: true, Chance: 0.02},
		{Kind: faultproxy.Truncate, Match: mayBreakOff, Chance: 0.03},
		{Kind: faultproxy.Hold, Delay: 20 * time.Millisecond, Chance: 0.02},
		{Kind: faultproxy.Blackhole, Delay: 50 * time.Millisecond, Chance: 0.005},
		{Kind: faultproxy.ErrorBody, Match: slow, Chance: 0.1},
		{Kind: faultproxy.ErrorBody, After: true, Match: slow, Chance: 0.1},
		{Kind: faultproxy.Conflict, Match: writes, Chance: 0.02},
		{Kind: faultproxy.Conflict, After: true, Match: writes, Chance: 0.02},
		{Kind: faultproxy.Late, Match: mayComeLate, Delay: 30 * time.Millisecond, Chance: 0.02},
		{Kind: faultproxy.Duplicate, Match: mayComeLate, Delay: 30 * time.Millisecond, Chance: 0.03},
	}
}

// mayComeLate says whether a request may be done once more, some time later. That of a
// plain object may not: S3 knows no order, and the engine writes no such key twice. Nor
// that of a membership, which brings back a blob that a client has deleted meanwhile, nor
// that which has no condition: it is how a test damages a blob.
func mayComeLate(r faultproxy.Request) bool {
	return r.Operation == faultproxy.PutObject &&
		(strings.Contains(r.Key, "/.zot/") || strings.Contains(r.Key, "/data.") && r.IfNoneMatch != "")
}

// mayBreakOff says whether an answer may break off. That of an object that is replaced
// meanwhile may not: the rest of it is nowhere, and the reader says so.
func mayBreakOff(r faultproxy.Request) bool {
	return r.Operation != faultproxy.GetObject || !strings.HasSuffix(r.Key, "/a/b")
}
