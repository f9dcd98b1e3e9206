//go:build remote

package cli

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zotregistry.io/zot/pkg/api/config"
)

// TestDoctor: the table says what a bucket can do; one that is not there is named by its key.
func TestDoctor(t *testing.T) {
	server := mustStartBucket(t, "images")

	for bucket, want := range map[string]string{
		"images": "",
		"none":   `storage.storageDriver.bucket: there is no bucket "none"`,
	} {
		settings := config.Settings{"name": "s3", "region": "us-east-1", "bucket": bucket}
		maps.Copy(settings, server)

		body, err := json.Marshal(map[string]any{"storage": map[string]any{
			"rootDirectory": filepath.Join(t.TempDir(), "root"), "storageDriver": settings,
		}})
		if err != nil {
			t.Fatal(err)
		}

		path := filepath.Join(t.TempDir(), "config.json")
		if err := os.WriteFile(path, body, 0o600); err != nil {
			t.Fatal(err)
		}

		var out strings.Builder

		err = doctor(t.Context(), &out, path)

		if want != "" {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}

			continue
		}

		if err != nil || strings.Count(out.String(), "  yes  ") != 6 || strings.Contains(out.String(), "NO") {
			t.Errorf("error %v, and the table is\n%s", err, &out)
		}
	}
}
