//go:build soak

// Package soak has clients push, tag, mount, delete and pull for a long time while garbage is
// collected every second, and looks at what is there in the end.
package soak

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"zotregistry.io/zot/internal/daemon"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What a run may be told. A seed repeats what each client asks for; how the clients
// interleave still varies.
const (
	lengthEnv = "SOAK"      // how long each variant runs, as "1h"
	seedEnv   = "SOAK_SEED" // what an earlier run has printed
)

func length(t *testing.T) time.Duration {
	t.Helper()

	text := os.Getenv(lengthEnv)
	if text == "" {
		return 90 * time.Second
	}

	d, err := time.ParseDuration(text)
	must(t, err)

	return d
}

func seed(t *testing.T) uint64 {
	t.Helper()

	n := rand.Uint64() % 1e9

	if text := os.Getenv(seedEnv); text != "" {
		var err error

		n, err = strconv.ParseUint(text, 10, 32)
		must(t, err)
	}

	t.Logf("repeat this run with %s=%d", seedEnv, n)

	return n
}

func must(t *testing.T, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}

// collected is what the runs of a process's garbage collection have done, by its log.
type collected struct {
	runs, blobs int
	slowest     time.Duration
}

func (c collected) String() string {
	return fmt.Sprintf("%d collections freed %d blobs, the longest took %s", c.runs, c.blobs, c.slowest.Round(time.Millisecond))
}

func collectedBy(t *testing.T, d *daemon.Daemon) collected {
	t.Helper()

	log, err := os.ReadFile(d.LogPath)
	must(t, err)

	var all collected

	for line := range bytes.Lines(log) {
		var run struct {
			Message string
			Blobs   int
			Took    float64 // ms
		}
		if json.Unmarshal(line, &run) != nil || run.Message != "collected garbage" {
			continue
		}

		all.runs++
		all.blobs += run.Blobs
		all.slowest = max(all.slowest, time.Duration(run.Took*float64(time.Millisecond)))
	}

	return all
}

// residentMiB reads how much memory a process has resident.
func residentMiB(t *testing.T, d *daemon.Daemon) int {
	t.Helper()

	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.PID()))
	must(t, err)

	_, rest, found := strings.Cut(string(status), "VmRSS:")
	fields := strings.Fields(rest)

	if !found || len(fields) == 0 {
		t.Fatal("no VmRSS in the status of the process")
	}

	kiB, err := strconv.Atoi(fields[0])
	must(t, err)

	return kiB / 1024
}
