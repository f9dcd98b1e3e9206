package servers

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// DynamoDB speaks the protocol of Amazon DynamoDB.
type DynamoDB struct {
	*Server
}

// StartDynamoDB starts dynalite, which keeps its tables on disk, so that they are there
// after a restart. The environment of the test has the credentials that it takes: any.
func StartDynamoDB(tb testing.TB) *DynamoDB {
	tb.Helper()

	addr := freeAddr(tb)

	setenv(tb, map[string]string{
		"AWS_ACCESS_KEY_ID":           "test",
		"AWS_SECRET_ACCESS_KEY":       "test-secret",
		"AWS_EC2_METADATA_DISABLED":   "true",
		"AWS_CONFIG_FILE":             os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	})

	return &DynamoDB{start(tb, addr, dynalite(tb),
		"--host", "127.0.0.1", "--port", port(tb, addr), "--path", tb.TempDir(),
		"--createTableMs", "100", "--deleteTableMs", "100",
	)}
}

// Endpoint is the URL to set as endpoint.
func (d *DynamoDB) Endpoint() string { return "http://" + d.Addr }

func setenv(tb testing.TB, values map[string]string) {
	tb.Helper()

	for name, value := range values {
		tb.Setenv(name, value)
	}
}

// dynalite finds the program where make puts it, or in PATH.
func dynalite(tb testing.TB) string {
	tb.Helper()

	if path, err := exec.LookPath("dynalite"); err == nil {
		return path
	}

	path := filepath.Join(os.Getenv(ToolsEnv), "node_modules", ".bin", "dynalite")
	if _, err := os.Stat(path); err != nil {
		tb.Fatalf("dynalite is neither in PATH nor below $%s: run make remote, which installs it (%v)", ToolsEnv, err)
	}

	return path
}
