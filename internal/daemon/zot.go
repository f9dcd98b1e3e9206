package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// BinaryEnv names the binary under test. The Makefile sets it to bin/zot.
const BinaryEnv = "ZOT_BINARY"

// Zot says how to run the binary under test. Nothing in it is a default: what a
// field leaves out is left out of the configuration file too. Several with the same
// storageDriver in Storage are replicas: each has a root of its own, for its cache.
type Zot struct {
	// Root is the root directory. Empty means a new temporary one.
	Root string
	// Addr is host:port. Empty means a free port.
	Addr string
	// Storage holds further keys of "storage", such as "sparse" or "storageDriver".
	Storage map[string]any
	// HTTP holds further keys of "http", such as "tls".
	HTTP map[string]any
	// Extensions holds "extensions"; nil means none.
	Extensions map[string]any

	dir string // holds the configuration and the log, over restarts
}

// Start runs zot and fails the test if it does not come up. The process is killed
// when the test is over, and the end of its log is shown if the test failed.
func (z *Zot) Start(t testing.TB) *Daemon {
	t.Helper()

	config := z.prepare(t)
	logPath := filepath.Join(z.dir, "zot.log")

	d, err := Open(t.Context(), []string{Binary(t), "serve", config}, z.Addr, logPath)
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		if err := d.Kill(); err != nil {
			t.Error(err)
		}
	})

	return d
}

// Refused runs zot where it must not come up, and returns what it printed. The test fails
// if it does not leave with exit status 1 within limit.
func (z *Zot) Refused(t testing.TB, limit time.Duration) string {
	t.Helper()

	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()

	out, err := exec.CommandContext(ctx, Binary(t), "serve", z.prepare(t)).CombinedOutput()

	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || ctx.Err() != nil {
		t.Errorf("want exit status 1 within %s, got %v:\n%s", limit, err, out)
	}

	return string(out)
}

// ConfigPath is the configuration file of a zot that was started.
func (z *Zot) ConfigPath() string { return filepath.Join(z.dir, "config.json") }

// prepare writes the configuration, and returns its path.
func (z *Zot) prepare(t testing.TB) string {
	t.Helper()
	z.fill(t)

	config := z.ConfigPath()
	if err := os.WriteFile(config, z.config(t), 0o600); err != nil {
		t.Fatal(err)
	}

	return config
}

// fill decides what was left open, so that a second Start is a restart.
func (z *Zot) fill(t testing.TB) {
	t.Helper()

	if z.dir == "" {
		z.dir = t.TempDir()
		t.Cleanup(func() { ShowLog(t, filepath.Join(z.dir, "zot.log")) })
	}

	if z.Root == "" {
		z.Root = t.TempDir()
	}

	if z.Addr == "" {
		addr, err := FreeAddr()
		if err != nil {
			t.Fatal(err)
		}

		z.Addr = addr
	}
}

func (z *Zot) config(t testing.TB) []byte {
	t.Helper()

	host, port, err := net.SplitHostPort(z.Addr)
	if err != nil {
		t.Fatal(err)
	}

	all := map[string]any{
		"storage": with(z.Storage, map[string]any{"rootDirectory": z.Root}),
		"http":    with(z.HTTP, map[string]any{"address": host, "port": port}),
	}
	if z.Extensions != nil {
		all["extensions"] = z.Extensions
	}

	config, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		t.Fatal(err)
	}

	return config
}

// with returns keys, and extra ones where keys says nothing.
func with(extra, keys map[string]any) map[string]any {
	for k, v := range extra {
		if _, ok := keys[k]; !ok {
			keys[k] = v
		}
	}

	return keys
}

// Binary returns the path of the binary under test.
func Binary(t testing.TB) string {
	t.Helper()

	path := os.Getenv(BinaryEnv)
	if path == "" {
		t.Fatalf("%s is not set: run this suite through its make target", BinaryEnv)
	}

	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s: %v (make build makes it)", BinaryEnv, err)
	}

	return path
}

// ShowLog prints the end of a log, where a test failed: what is neither debug nor
// info, a crash's stack included.
func ShowLog(t testing.TB, path string) {
	t.Helper()

	if !t.Failed() {
		return
	}

	log, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return
	}

	if err != nil {
		t.Errorf("read the server's log: %v", err)

		return
	}

	lines := slices.DeleteFunc(bytes.Split(log, []byte("\n")), func(line []byte) bool {
		return bytes.Contains(line, []byte(`"level":"info"`)) || bytes.Contains(line, []byte(`"level":"debug"`))
	})
	t.Logf("the end of the server's log:\n%s", bytes.Join(lines[max(0, len(lines)-60):], []byte("\n")))
}
