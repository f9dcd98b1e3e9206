//go:build remote

package s3_test

import (
	"sync"
	"testing"
	"time"

	"zotregistry.io/zot/internal/faultproxy"
)

// TestThrottled has the server ask one request to slow down. It waits, and the others do
// not: that one key is busy says nothing about the rest of a bucket.
func TestThrottled(t *testing.T) {
	b := newBench(t)
	opts := b.proxied()
	opts.MaxBackoff = 0 // as it is in use

	bucket := mustOpen(t, opts)
	defer func() { _ = bucket.Close() }()

	if _, err := bucket.Put(t.Context(), "a/b", []byte("x")); err != nil {
		t.Fatal(err)
	}

	for range 20 { // few requests, as at night
		time.Sleep(50 * time.Millisecond)

		if _, err := bucket.Put(t.Context(), "a/b", []byte("y")); err != nil {
			t.Fatal(err)
		}
	}

	b.proxy.Inject(faultproxy.Rule{Kind: faultproxy.SlowDown, Times: 1})

	var group sync.WaitGroup

	begun := time.Now()

	for range 8 {
		group.Go(func() {
			for range 50 {
				if _, err := bucket.Put(t.Context(), "a/b", []byte("y")); err != nil {
					t.Error(err)
				}
			}
		})
	}

	group.Wait()

	// One waits for a second at most. With the SDK's adaptive mode all took 9 s.
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("400 requests took %s, when one was asked to slow down", took)
	}
}
