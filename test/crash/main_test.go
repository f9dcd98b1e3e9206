//go:build crash

// Package crash kills the binary while clients push, and damages its cache, and looks
// from outside at what is left.
package crash

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"go.uber.org/goleak"

	"zotregistry.io/zot/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seedEnv repeats a run: the same images, and the same moments to kill counted from
// the start of a round. What the server was doing at that moment still varies.
const seedEnv = "CRASH_SEED"

func seed(t *testing.T) uint64 {
	t.Helper()

	text := os.Getenv(seedEnv)
	if text == "" {
		n := rand.Uint64() % 1e9
		t.Logf("repeat this run with %s=%d", seedEnv, n)

		return n
	}

	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatalf("%s: %v", seedEnv, err)
	}

	return n
}

func newClient(t *testing.T, addr string) *wire.Client {
	t.Helper()

	c := wire.New(addr)
	t.Cleanup(c.Close)

	return c
}

func newImage(t *testing.T, seed uint64, layers ...int) *wire.Image {
	t.Helper()

	img, err := wire.NewImage(seed, layers...)
	if err != nil {
		t.Fatal(err)
	}

	return img
}
