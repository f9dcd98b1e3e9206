package cli

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/api/config"
)

// TestAuditLogOfNoUse: without the audit log that was asked for zot does not start.
func TestAuditLogOfNoUse(t *testing.T) {
	cfg := config.Default()
	cfg.HTTP.Port = "0"
	cfg.Storage.RootDirectory = t.TempDir()
	cfg.Log.Audit = filepath.Join(t.TempDir(), "none", "audit.log")

	err := run(t.Context(), cfg, &openedLog{Logger: zerolog.Nop()}, &changes{})
	if err == nil || !strings.Contains(err.Error(), "log.audit: ") {
		t.Errorf("got %v", err)
	}
}
