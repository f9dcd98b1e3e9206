//go:build crash

package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"zotregistry.io/zot/internal/daemon"
	"zotregistry.io/zot/test/internal/churn"
)

// roundsEnv is how often a server is killed, or the power cut, with each setting.
const roundsEnv = "CRASH_ROUNDS"

func roundsOr(t *testing.T, otherwise int) int {
	t.Helper()

	text := os.Getenv(roundsEnv)
	if text == "" {
		return otherwise
	}

	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", roundsEnv, err)
	}

	return n
}

// thinned is in how many repositories manifests go that have no tag.
const thinned = 1

// settings are how garbage is collected while a server is killed.
var settings = []struct {
	name    string
	storage map[string]any
	lease   time.Duration // for which an answer counts
}{
	{"gc all the time", map[string]any{
		"gcDelay": "300ms", "gcInterval": "20ms", "undelete": "0s", "retention": churn.Retention(thinned),
	}, 200 * time.Millisecond},
	{"gc every second", map[string]any{
		"gcDelay": "1s", "gcInterval": "1s", "undelete": "2s", "retention": churn.Retention(thinned),
	}, 700 * time.Millisecond},
	{"defaults", nil, 0},
}

// crasher has clients work on a server that ends again and again.
type crasher struct {
	zot   *daemon.Zot
	proc  *daemon.Daemon
	fleet *churn.Fleet
	rng   *rand.Rand
	wrong []error // what the clients have found
}

func newCrasher(t *testing.T, zot *daemon.Zot, lease time.Duration) *crasher {
	t.Helper()

	start := seed(t)
	c := &crasher{zot: zot}

	// Behind the log of the server, which is long, and which the clean-up of Start shows.
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("with %s=%d the clients have found: %v", seedEnv, start, errors.Join(c.wrong...))
		}
	})

	c.proc = zot.Start(t)
	c.rng = rand.New(rand.NewPCG(start, 3))

	var err error

	c.fleet, err = churn.New(churn.Options{Seed: start, Workers: 6, Repos: 2, Images: 30, Thinned: thinned, Lease: lease}, zot.Addr)
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(c.fleet.Close)

	return c
}

// endWhileWorking lets the clients work for a while, then ends the server. Whatever they meet
// has to be what is expected then.
func (c *crasher) endWhileWorking(t *testing.T, end func() error, expected func(error) bool) {
	t.Helper()

	var ending atomic.Bool

	worked := make(chan error, 1)

	go func() {
		worked <- c.fleet.Run(context.WithoutCancel(t.Context()), nil, func(err error) bool {
			return ending.Load() && expected(err)
		})
	}()

	moment := time.NewTimer(200*time.Millisecond + time.Duration(c.rng.Int64N(int64(1500*time.Millisecond))))
	defer moment.Stop()

	select {
	case <-moment.C:
	case err := <-worked:
		c.failed(t, fmt.Errorf("before the end: %w", err))
		t.FailNow()
	case <-c.proc.Done():
		t.Error("the server left by itself")
	}

	ending.Store(true)

	if err := end(); err != nil {
		t.Error(err)
	}

	if err := <-worked; err != nil {
		c.failed(t, fmt.Errorf("when the server ended: %w", err))
	}
}

// again starts the server, and holds what it serves against what was acknowledged.
func (c *crasher) again(t *testing.T, round int) {
	t.Helper()

	c.checkOffline(t)
	c.proc = c.zot.Start(t)

	if err := c.fleet.Verify(t.Context()); err != nil {
		c.failed(t, fmt.Errorf("after round %d: %w", round, err))
		t.FailNow()
	}
}

func (c *crasher) failed(t *testing.T, err error) {
	t.Helper()
	t.Error(err)
	c.wrong = append(c.wrong, err)
}

// checkOffline runs zot fsck on the root.
func (c *crasher) checkOffline(t *testing.T) {
	t.Helper()

	mustBeWhole(t, c.zot)
}

// mustBeWhole has zot fsck find nothing in a root that nobody serves.
func mustBeWhole(t *testing.T, zot *daemon.Zot) {
	t.Helper()

	out, err := exec.Command(daemon.Binary(t), "fsck", "--from-start", "-c", zot.ConfigPath()).CombinedOutput()
	if err != nil {
		t.Errorf("zot fsck: %v\n%s", err, out)
	}
}

// finish stops the server in good order, and looks at everything once more.
func (c *crasher) finish(t *testing.T, rounds int) {
	t.Helper()

	c.stop(t)
	c.endDoubt(t)
	verifyFiles(t, c.zot.Root)
	c.again(t, rounds)
	t.Logf("%d rounds; %s; %s", rounds, c.fleet.Report(), freed(t, c.proc))

	if c.fleet.Total() < 10*rounds {
		t.Error("too little was under way for this run to prove anything")
	}
}

func (c *crasher) stop(t *testing.T) {
	t.Helper()

	if err := c.proc.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// endDoubt lets the server run for as long as it needs to look at all that was left by those
// that were killed: then it leaves an object that says so.
func (c *crasher) endDoubt(t *testing.T) {
	t.Helper()

	for limit := time.Now().Add(time.Minute); ; {
		_, err := os.Stat(filepath.Join(c.zot.Root, "_all-flushed"))
		if err == nil {
			return
		}

		if time.Now().After(limit) {
			t.Fatalf("the server does not come to the end of what is in doubt: %v", err)
		}

		c.proc = c.zot.Start(t)
		<-time.After(500 * time.Millisecond)
		c.stop(t)
	}
}

// freed says how many runs of garbage collection the log tells of, that freed something.
func freed(t *testing.T, d *daemon.Daemon) string {
	t.Helper()

	log, err := os.ReadFile(d.LogPath)
	if err != nil {
		t.Fatal(err)
	}

	some := 0

	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "collected garbage") && !strings.Contains(line, `"blobs":0`) {
			some++
		}
	}

	return fmt.Sprintf("%d collections freed something", some)
}

// TestKillUnderChurn kills the server while clients push, delete and pull, and garbage is
// collected.
func TestKillUnderChurn(t *testing.T) {
	for _, s := range settings {
		t.Run(s.name, func(t *testing.T) {
			rounds := roundsOr(t, 6)
			c := newCrasher(t, &daemon.Zot{Storage: s.storage}, s.lease)

			for round := range rounds {
				c.endWhileWorking(t, c.proc.Kill, churn.Disconnected)
				c.again(t, round)
			}

			c.finish(t, rounds)
		})
	}
}
