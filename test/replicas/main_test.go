//go:build replicas

// Package replicas runs several zots on one bucket, has them fail, and looks from the
// outside at whether they are one registry still.
package replicas

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"zotregistry.io/zot/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What a run may be told. A seed repeats what clients ask for and which requests meet
// which fault; how they interleave still varies.
const (
	seedEnv   = "REPLICAS_SEED"
	seedsEnv  = "REPLICAS_SEEDS"  // how many histories are checked
	faultsEnv = "REPLICAS_FAULTS" // how many times as often requests meet faults
	outageEnv = "REPLICAS_OUTAGE" // how long the cache is away, as "30s"
)

func seed(t *testing.T) uint64 {
	t.Helper()

	n := uint64(number(t, seedEnv, int(rand.Uint64()%1e9)))
	t.Logf("repeat this run with %s=%d", seedEnv, n)

	return n
}

func number(t *testing.T, env string, otherwise int) int {
	t.Helper()

	text := os.Getenv(env)
	if text == "" {
		return otherwise
	}

	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatalf("%s: %v", env, err)
	}

	return int(n)
}

func outage(t *testing.T) time.Duration {
	t.Helper()

	text := os.Getenv(outageEnv)
	if text == "" {
		return 5 * time.Second
	}

	d, err := time.ParseDuration(text)
	must(t, err)

	return d
}

func must(t *testing.T, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}

func mustImage(t *testing.T, seed uint64, layers ...int) *wire.Image {
	t.Helper()

	img, err := wire.NewImage(seed, layers...)
	must(t, err)

	return img
}

// await asks until the answer is yes.
func await(t *testing.T, limit time.Duration, what string, ask func() bool) {
	t.Helper()

	late := time.NewTimer(limit)
	defer late.Stop()

	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()

	for !ask() {
		select {
		case <-tick.C:
		case <-late.C:
			t.Fatalf("%s: not within %s", what, limit)
		case <-t.Context().Done():
			t.Fatalf("%s: %v", what, t.Context().Err())
		}
	}
}

// pass lets time go by that is a fault's own.
func pass(t *testing.T, d time.Duration) {
	t.Helper()

	timer := time.NewTimer(d)
	defer timer.Stop()

	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}
