//go:build crash && linux

package crash

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zotregistry.io/zot/internal/daemon"
	"zotregistry.io/zot/test/internal/churn"
)

// TestNoFileLeft: where a process may open no more files, requests are refused with a 5xx or
// wait; whatever was acknowledged is there when it may again.
func TestNoFileLeft(t *testing.T) {
	c := newCrasher(t, &daemon.Zot{Storage: settings[0].storage}, settings[0].lease)
	all := filesAllowed(t, c.proc)
	var refused atomic.Int64

	for round := range roundsOr(t, 10) {
		work(t, c.fleet, 300*time.Millisecond)
		allowFiles(t, c.proc, unix.Rlimit{Cur: filesOpen(t, c.proc) + uint64(round%4), Max: all.Max})

		enough := make(chan struct{})
		timer := time.AfterFunc(500*time.Millisecond, func() { close(enough) })

		if err := c.fleet.Run(t.Context(), enough, func(err error) bool {
			refused.Add(1)

			return churn.ServerFailed(err)
		}); err != nil {
			t.Errorf("without files: %v", err)
		}

		timer.Stop()
		allowFiles(t, c.proc, all)

		if err := c.fleet.Verify(t.Context()); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}

	c.finish(t, 1)
	t.Logf("%d requests were refused", refused.Load())

	log, err := os.ReadFile(c.proc.LogPath)
	if err != nil {
		t.Fatal(err)
	}

	if !strings.Contains(string(log), unix.EMFILE.Error()) || refused.Load() == 0 {
		t.Error("files never ran out: this run proves nothing")
	}
}

func filesAllowed(t *testing.T, d *daemon.Daemon) (limit unix.Rlimit) {
	t.Helper()

	if err := unix.Prlimit(d.PID(), unix.RLIMIT_NOFILE, nil, &limit); err != nil {
		t.Fatal(err)
	}

	return limit
}

func allowFiles(t *testing.T, d *daemon.Daemon, limit unix.Rlimit) {
	t.Helper()

	if err := unix.Prlimit(d.PID(), unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		t.Fatal(err)
	}
}

func filesOpen(t *testing.T, d *daemon.Daemon) uint64 {
	t.Helper()

	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", d.PID()))
	if err != nil {
		t.Fatal(err)
	}

	return uint64(len(open))
}
