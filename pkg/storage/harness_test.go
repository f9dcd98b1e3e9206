package storage_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

var quiet = storage.Options{Log: zerolog.Nop()}

// openProcess opens a store as a process would that the test ends itself: by
// mustClose, or by kill.
func openProcess(t *testing.T, driver storage.Driver) *storagetest.World {
	t.Helper()

	store, err := storage.Open(t.Context(), driver, storagetest.NewMapCache(), quiet)
	if err != nil {
		t.Fatalf("open store: %v", err)
	}

	return &storagetest.World{T: t, Driver: driver, Store: store}
}

func mustClose(w *storagetest.World) {
	w.T.Helper()
	w.NoError(w.Store.Close(context.Background()), "close")
}

// kill leaves a process behind as it is. Its goroutines end with the test.
func kill(w *storagetest.World) {
	w.T.Cleanup(func() { _ = w.Store.Close(context.Background()) })
}

// manifestOf makes the manifest that World.Push would, of layers that may not be
// there; the config is {}.
func manifestOf(layers ...string) string {
	named := make([]string, len(layers))
	for i, layer := range layers {
		named[i] = fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"%s","size":%d}`,
			digest.FromString(layer), len(layer))
	}

	return `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",` +
		`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` +
		digest.FromString("{}").String() + `","size":2},"layers":[` + strings.Join(named, ",") + `]}`
}

// tryPut pushes only the manifest of an image.
func tryPut(w *storagetest.World, repo storage.RepoName, tag storage.Tag, layers ...string) error {
	_, err := w.Put(storage.ManifestPut{Repo: repo, Tags: []storage.Tag{tag}, Body: []byte(manifestOf(layers...))})

	return err
}

// spy is a driver that tells before it does something with a log.
type spy struct {
	storage.Driver

	onAppend  func(prefix string, records []storage.Record) // nil = nothing
	onRefresh func()                                        // nil = nothing
}

func (s *spy) OpenLog(ctx context.Context, prefix string) (storage.Log, error) {
	log, err := s.Driver.OpenLog(ctx, prefix)

	return &spyLog{log, s, prefix}, err
}

type spyLog struct {
	storage.Log

	spy    *spy
	prefix string
}

func (l *spyLog) Append(ctx context.Context, records []storage.Record) error {
	if tell := l.spy.onAppend; tell != nil {
		tell(l.prefix, records)
	}

	return l.Log.Append(ctx, records)
}

func (l *spyLog) Refresh(ctx context.Context, seq uint64, since time.Time) (storage.Changes, error) {
	if tell := l.spy.onRefresh; tell != nil {
		tell()
	}

	return l.Log.Refresh(ctx, seq, since)
}

// inOrder returns a driver over memory that fails the test if a record is appended
// before all that it names is on disk.
func inOrder(t *testing.T, memory *storagetest.Memory) *spy {
	t.Helper()

	return &spy{Driver: memory.Driver(), onAppend: func(prefix string, records []storage.Record) {
		unsynced := memory.Unsynced()

		for _, key := range keysNamed(prefix, records) {
			if slices.Contains(unsynced, key) {
				t.Errorf("a record names %s, which is not on disk yet", key)
			}
		}
	}}
}

// keysNamed lists the keys whose bytes records promise.
func keysNamed(prefix string, records []storage.Record) []string {
	var keys []string

	name := func(dgst digest.Digest) {
		keys = append(keys, storage.BlobKey(storage.RepoName(strings.TrimSuffix(prefix, "/")), dgst))
	}

	for _, record := range records {
		for _, op := range record.Ops {
			switch op.Kind {
			case storage.OpPutManifest:
				name(op.Manifest.Digest)

				for _, ref := range slices.Concat(op.Manifest.Blobs, op.Manifest.Manifests) {
					name(ref.Digest)
				}
			case storage.OpSetTag, storage.OpShowBlob:
				name(op.Digest)
			}
		}
	}

	return keys
}

// errorOf drops where something was put.
func errorOf(_ string, err error) error { return err }
