package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"zotregistry.io/zot/internal/wire"
)

// layout is an OCI layout that is written as if others had done so some hours ago.
type layout struct{ dir, blobs string }

func newLayout(dir string) (*layout, error) {
	l := &layout{dir: dir, blobs: filepath.Join(dir, "blobs", "sha256")}

	return l, os.MkdirAll(l.blobs, 0o700)
}

// blob writes a blob that is too old to be left alone.
func (l *layout) blob(blob []byte) error {
	path := filepath.Join(l.blobs, digest.FromBytes(blob).Encoded())
	if err := os.WriteFile(path, blob, 0o600); err != nil {
		return err
	}

	old := time.Now().Add(-24 * time.Hour)

	return os.Chtimes(path, old, old)
}

// image writes an image of a config, which all images have, and a small layer.
func (l *layout) image(seed uint64) (*wire.Image, error) {
	img, err := wire.NewImageOf(nil, []byte(`{"architecture":"amd64","os":"linux"}`), fmt.Appendf(nil, "layer %d", seed))
	if err != nil {
		return nil, err
	}

	return img, l.write(img)
}

func (l *layout) write(img *wire.Image) error {
	for _, blob := range append(img.Blobs, img.Manifest) {
		if err := l.blob(blob); err != nil {
			return err
		}
	}

	return nil
}

// index writes what makes a layout of the directory, with so many tags.
func (l *layout) index(tags int, of func(n int) *wire.Image) (err error) {
	if err := os.WriteFile(filepath.Join(l.dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o600); err != nil {
		return err
	}

	file, err := os.Create(filepath.Join(l.dir, "index.json"))
	if err != nil {
		return err
	}

	out := bufio.NewWriterSize(file, 1<<20)

	defer func() { err = errors.Join(err, out.Flush(), file.Close()) }()

	before := `{"schemaVersion":2,"mediaType":"` + v1.MediaTypeImageIndex + `","manifests":[`

	for n := range tags {
		img := of(n)

		entry, err := json.Marshal(v1.Descriptor{
			MediaType: v1.MediaTypeImageManifest, Digest: img.Digest, Size: int64(len(img.Manifest)),
			Annotations: map[string]string{v1.AnnotationRefName: tagOf(n)},
		})
		if err != nil {
			return err
		}

		if _, err := io.WriteString(out, before+string(entry)); err != nil {
			return err
		}

		before = ","
	}

	_, err = io.WriteString(out, "]}")

	return err
}

// A repository of a store for GC: images of a manifest, a config and eight layers, and as many
// blobs that no manifest names.
const (
	imagesPerRepository = 5
	layersPerImage      = 8
	blobsPerRepository  = 2 * imagesPerRepository * (layersPerImage + 2)
	smallBlob           = 1000 // bytes of a layer
)

func layoutName(n int) string { return fmt.Sprintf("store/r%04d", n) }

// makeLayouts writes the repositories.
func (g *gcBench) makeLayouts(ctx context.Context) error {
	return each(ctx, 2, g.repositories, func(_ context.Context, _, n int) error {
		return makeLayout(filepath.Join(g.dir, "data", layoutName(n)), uint64(n))
	})
}

func makeLayout(dir string, seed uint64) error {
	l, err := newLayout(dir)
	if err != nil {
		return err
	}

	images := make([]*wire.Image, imagesPerRepository)

	for n := range images {
		sizes := make([]int, layersPerImage)
		for i := range sizes {
			sizes[i] = smallBlob
		}

		if images[n], err = wire.NewImage(seed<<8+uint64(n), sizes...); err != nil {
			return err
		}

		if err := l.write(images[n]); err != nil {
			return err
		}
	}

	random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // garbage need not be hard to guess

	for range blobsPerRepository / 2 {
		blob := make([]byte, smallBlob)
		for i := range blob {
			blob[i] = byte(random.Uint32())
		}

		if err := l.blob(blob); err != nil {
			return err
		}
	}

	return l.index(len(images), func(n int) *wire.Image { return images[n] })
}
