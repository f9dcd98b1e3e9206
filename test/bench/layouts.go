package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"zotregistry.io/zot/internal/wire"
)

// A repository of a store for GC: images of a manifest, a config and eight layers, and as many
// blobs that no manifest names.
const (
	imagesPerRepository = 5
	layersPerImage      = 8
	blobsPerRepository  = 2 * imagesPerRepository * (layersPerImage + 2)
	smallBlob           = 1000 // bytes of a layer
)

func layoutName(n int) string { return fmt.Sprintf("store/r%04d", n) }

// makeLayouts writes the repositories as OCI layouts that are some hours old.
func (g *gcBench) makeLayouts(ctx context.Context) error {
	return each(ctx, 2, g.repositories, func(_ context.Context, _, n int) error {
		return makeLayout(filepath.Join(g.dir, "data", layoutName(n)), uint64(n))
	})
}

func makeLayout(dir string, seed uint64) error {
	blobs := filepath.Join(dir, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o700); err != nil {
		return err
	}

	index := v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex}

	for n := range imagesPerRepository {
		sizes := make([]int, layersPerImage)
		for i := range sizes {
			sizes[i] = smallBlob
		}

		img, err := wire.NewImage(seed<<8+uint64(n), sizes...)
		if err != nil {
			return err
		}

		for _, blob := range append(img.Blobs, img.Manifest) {
			if err := writeBlob(blobs, blob); err != nil {
				return err
			}
		}

		index.Manifests = append(index.Manifests, v1.Descriptor{
			MediaType: v1.MediaTypeImageManifest, Digest: img.Digest, Size: int64(len(img.Manifest)),
			Annotations: map[string]string{v1.AnnotationRefName: tagOf(n)},
		})
	}

	random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // garbage need not be hard to guess

	for range blobsPerRepository / 2 {
		blob := make([]byte, smallBlob)
		for i := range blob {
			blob[i] = byte(random.Uint32())
		}

		if err := writeBlob(blobs, blob); err != nil {
			return err
		}
	}

	body, err := json.Marshal(index)
	if err != nil {
		return err
	}

	if err := os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o600); err != nil {
		return err
	}

	return os.WriteFile(filepath.Join(dir, "index.json"), body, 0o600)
}

// writeBlob writes a blob that is too old to be left alone.
func writeBlob(dir string, blob []byte) error {
	path := filepath.Join(dir, digest.FromBytes(blob).Encoded())
	if err := os.WriteFile(path, blob, 0o600); err != nil {
		return err
	}

	old := time.Now().Add(-24 * time.Hour)

	return os.Chtimes(path, old, old)
}
