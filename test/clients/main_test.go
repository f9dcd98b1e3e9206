//go:build clients

// Package clients pushes and pulls with the clients that people use, against the
// binary on its default configuration, and on a bucket.
package clients

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"zotregistry.io/zot/internal/daemon"
	"zotregistry.io/zot/internal/servers"
	"zotregistry.io/zot/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// toolsEnv names the directory of the clients that "go install" put there.
const toolsEnv = "TOOLS"

// shell runs clients in an environment of their own: no client sees the
// configuration or the credentials of who runs the tests.
type shell struct{ env []string }

func newShell(t *testing.T) *shell {
	t.Helper()

	home := t.TempDir()
	// podman and buildah fail if DOCKER_CONFIG names a directory without this file.
	must(t, os.MkdirAll(filepath.Join(home, ".docker"), 0o700))
	must(t, os.WriteFile(filepath.Join(home, ".docker", "config.json"), []byte("{}"), 0o600))

	path := os.Getenv(toolsEnv) + ":" + os.Getenv("PATH") + ":/usr/sbin:/sbin"

	return &shell{env: []string{
		"PATH=" + path,
		"HOME=" + home,
		"XDG_RUNTIME_DIR=" + home,
		"DOCKER_CONFIG=" + filepath.Join(home, ".docker"),
		"DOCKER_BUILDKIT=0", // Debian's docker.io comes without buildx
		"TMPDIR=" + os.TempDir(),
	}}
}

// with returns a shell with further variables ("NAME=value").
func (s *shell) with(env ...string) *shell {
	return &shell{env: append(append([]string(nil), s.env...), env...)}
}

// try runs a command and returns all that it printed.
func (s *shell) try(t *testing.T, argv ...string) (string, error) {
	t.Helper()

	cmd := exec.CommandContext(t.Context(), s.find(t, argv[0]), argv[1:]...)
	cmd.Env = s.env
	out, err := cmd.CombinedOutput()

	return string(out), err
}

// run returns what a command wrote to standard output, and fails the test if it failed.
func (s *shell) run(t *testing.T, argv ...string) string {
	t.Helper()

	var stderr strings.Builder

	cmd := exec.CommandContext(t.Context(), s.find(t, argv[0]), argv[1:]...)
	cmd.Env = s.env
	cmd.Stderr = &stderr

	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(argv, " "), err, out, stderr.String())
	}

	return strings.TrimSpace(string(out))
}

// refused fails the test if the command succeeds.
func (s *shell) refused(t *testing.T, argv ...string) {
	t.Helper()

	if out, err := s.try(t, argv...); err == nil {
		t.Errorf("%s should have failed:\n%s", strings.Join(argv, " "), out)
	}
}

// find looks a program up in the shell's own PATH.
func (s *shell) find(t *testing.T, name string) string {
	t.Helper()

	for _, dir := range filepath.SplitList(strings.TrimPrefix(s.env[0], "PATH=")) {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 && !info.IsDir() {
			return path
		}
	}

	t.Fatalf("%s is not installed: run make clients", name)

	return ""
}

// stores are where images may be kept, and what "storage" says for it.
var stores = []struct {
	name    string
	storage func(t *testing.T) map[string]any
}{
	{"directory", func(*testing.T) map[string]any { return nil }},
	{"bucket", func(t *testing.T) map[string]any {
		t.Helper()

		server := servers.StartS3(t)
		must(t, server.Bucket(t.Context(), "images"))

		return map[string]any{"storageDriver": server.StorageDriver("images")}
	}},
}

// onEachStore runs a test once for each store.
func onEachStore(t *testing.T, test func(t *testing.T, addr string, c *wire.Client)) {
	t.Helper()

	for _, store := range stores {
		t.Run(store.name, func(t *testing.T) {
			addr, c := serveWith(t, store.storage(t))
			test(t, addr, c)
		})
	}
}

// serve starts the binary on its default configuration and returns its address and a
// client that reads what was pushed.
func serve(t *testing.T) (string, *wire.Client) {
	t.Helper()

	return serveWith(t, nil)
}

func serveWith(t *testing.T, storage map[string]any) (string, *wire.Client) {
	t.Helper()

	d := (&daemon.Zot{Storage: storage}).Start(t)
	c := wire.New(d.Addr)
	t.Cleanup(c.Close)

	return d.Addr, c
}

// shortTempDir returns a directory with a path short enough for Unix sockets in it
// (108 bytes, unix(7)).
func shortTempDir(t *testing.T) string {
	t.Helper()

	dir, err := os.MkdirTemp("", "zot") //nolint:usetesting // t.TempDir is too long
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})

	return dir
}
