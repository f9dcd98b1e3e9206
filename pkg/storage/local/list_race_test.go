package local_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/storage/local"
)

// TestListWhileRemoved: a directory that goes while it is listed has nothing in it.
func TestListWhileRemoved(t *testing.T) {
	dir := t.TempDir()

	root, err := local.OpenRoot(t.Context(), local.RootOptions{Path: dir, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}

	stop, done := make(chan struct{}), make(chan struct{})

	go func() {
		defer close(done)

		for {
			select {
			case <-stop:
				return
			default:
				_ = os.MkdirAll(filepath.Join(dir, "a", "blobs"), 0o700)
				_ = os.RemoveAll(filepath.Join(dir, "a"))
			}
		}
	}()

	for range 5000 {
		for _, err := range root.List(t.Context(), "a/", "") {
			if err != nil {
				t.Fatal(err)
			}
		}
	}

	close(stop)
	<-done

	if err := root.Close(); err != nil {
		t.Error(err)
	}
}
