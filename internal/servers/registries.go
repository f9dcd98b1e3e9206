package servers

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"zotregistry.io/zot/internal/daemon"
)

// StartDistribution runs distribution on a new directory, and returns its address. It is killed
// when the test is over.
func StartDistribution(tb testing.TB) string {
	tb.Helper()

	return startRegistry(tb, func(dir, addr string) ([]string, error) {
		program, err := tool("registry")
		if err != nil {
			return nil, err
		}

		return Distribution(program, dir, addr, DistributionOnDisk(dir))
	})
}

// DistributionOnDisk is a storage for Distribution: a directory below dir.
func DistributionOnDisk(dir string) string {
	return fmt.Sprintf("filesystem: {rootdirectory: %q}", filepath.Join(dir, "data"))
}

// Distribution writes a configuration for distribution into dir, and returns the command line.
// The storage is keys in YAML. The rest is as in the example that comes with it, with a line in
// the log for each request, as zot writes one. Traces, which cost it much, go nowhere.
func Distribution(program, dir, addr, storage string) ([]string, error) {
	path := filepath.Join(dir, "config.yml")
	config := fmt.Sprintf(`version: 0.1
log: {fields: {service: registry}}
storage:
  %s
  delete: {enabled: true}
  redirect: {disable: true}
  cache: {blobdescriptor: inmemory}
http: {addr: %q}
`, storage, addr)

	return []string{"env", "OTEL_TRACES_EXPORTER=none", program, "serve", path}, os.WriteFile(path, []byte(config), 0o600)
}

// StartCraneRegistry runs the registry that crane has for tests, in memory, and returns its
// address. It is killed when the test is over.
func StartCraneRegistry(tb testing.TB) string {
	tb.Helper()

	return startRegistry(tb, func(_, addr string) ([]string, error) {
		program, err := tool("crane")

		return []string{program, "registry", "serve", "--address", addr}, err
	})
}

// startRegistry runs the command line that args returns. The registry may keep its data below dir.
func startRegistry(tb testing.TB, args func(dir, addr string) ([]string, error)) string {
	tb.Helper()

	dir := tb.TempDir()
	logPath := filepath.Join(dir, "log")

	addr, err := daemon.FreeAddr()
	if err != nil {
		tb.Fatal(err)
	}

	argv, err := args(dir, addr)
	if err != nil {
		tb.Fatal(err)
	}

	d, err := daemon.Open(tb.Context(), argv, addr, logPath)
	if err != nil {
		tb.Fatal(err)
	}

	tb.Cleanup(func() {
		if err := d.Kill(); err != nil {
			tb.Error(err)
		}

		daemon.ShowLog(tb, logPath)
	})

	return addr
}
