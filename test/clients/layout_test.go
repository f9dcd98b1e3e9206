//go:build clients

package clients

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// tag is what each layout's image is called.
const tag = "v1"

// layout is an OCI image layout on disk, made without any client.
type layout struct {
	dir string
	top v1.Descriptor // what index.json names as tag
}

// newLayout writes an image with two layers, or an index of one image per platform
// if there are several.
func newLayout(t *testing.T, arch ...string) *layout {
	t.Helper()

	l := &layout{dir: t.TempDir()}

	var images []v1.Descriptor
	for n, a := range arch {
		layers := [][]byte{archive(t, uint64(n), "bottom"), archive(t, uint64(n+100), "top")}
		images = append(images, l.image(t, a, layers))
	}

	l.top = images[0]
	if len(images) > 1 {
		l.top = l.add(t, v1.MediaTypeImageIndex, v1.Index{
			Versioned: specs.Versioned{SchemaVersion: 2},
			MediaType: v1.MediaTypeImageIndex,
			Manifests: images,
		})
	}

	l.finish(t)

	return l
}

// archive returns a compressed tar archive with one file of 300 kB that does not compress.
func archive(t *testing.T, seed uint64, name string) []byte {
	t.Helper()

	var buf bytes.Buffer

	writeArchive(t, &buf, seed, name, 300_000)

	return buf.Bytes()
}

func writeArchive(t *testing.T, w io.Writer, seed uint64, name string, size int64) {
	t.Helper()

	zip, err := gzip.NewWriterLevel(w, gzip.NoCompression)
	must(t, err)

	arch := tar.NewWriter(zip)
	must(t, arch.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: size}))

	random := rand.NewChaCha8([32]byte{byte(seed), byte(size)})
	_, err = io.CopyN(arch, random, size)
	must(t, err)
	must(t, arch.Close())
	must(t, zip.Close())
}

func must(t *testing.T, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}

func (l *layout) image(t *testing.T, arch string, layers [][]byte) v1.Descriptor {
	t.Helper()

	config := v1.Image{Platform: v1.Platform{Architecture: arch, OS: "linux"}, RootFS: v1.RootFS{Type: "layers"}}
	m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest}

	for _, layer := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, diffID(t, bytes.NewReader(layer)))
		m.Layers = append(m.Layers, l.addBytes(t, v1.MediaTypeImageLayerGzip, layer))
	}

	return l.addImage(t, m, config)
}

func (l *layout) addImage(t *testing.T, m v1.Manifest, config v1.Image) v1.Descriptor {
	t.Helper()

	m.Config = l.add(t, v1.MediaTypeImageConfig, config)
	desc := l.add(t, v1.MediaTypeImageManifest, m)
	desc.Platform = &config.Platform

	return desc
}

// diffID is the digest of a layer's bytes once they are decompressed.
func diffID(t *testing.T, layer io.Reader) digest.Digest {
	t.Helper()

	zip, err := gzip.NewReader(layer)
	must(t, err)

	dgst, err := digest.FromReader(zip)
	must(t, err)

	return dgst
}

func (l *layout) add(t *testing.T, mediaType string, doc any) v1.Descriptor {
	t.Helper()

	body, err := json.Marshal(doc)
	must(t, err)

	return l.addBytes(t, mediaType, body)
}

func (l *layout) addBytes(t *testing.T, mediaType string, body []byte) v1.Descriptor {
	t.Helper()

	dgst := digest.FromBytes(body)
	must(t, os.MkdirAll(filepath.Dir(l.path(dgst)), 0o755))
	must(t, os.WriteFile(l.path(dgst), body, 0o644))

	return v1.Descriptor{MediaType: mediaType, Digest: dgst, Size: int64(len(body))}
}

func (l *layout) path(dgst digest.Digest) string {
	return filepath.Join(l.dir, "blobs", dgst.Algorithm().String(), dgst.Encoded())
}

// finish writes index.json and oci-layout.
func (l *layout) finish(t *testing.T) {
	t.Helper()

	top := l.top
	top.Annotations = map[string]string{v1.AnnotationRefName: tag}

	index, err := json.Marshal(v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageIndex,
		Manifests: []v1.Descriptor{top},
	})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(l.dir, v1.ImageIndexFile), index, 0o644))

	marker, err := json.Marshal(v1.ImageLayout{Version: v1.ImageLayoutVersion})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(l.dir, v1.ImageLayoutFile), marker, 0o644))
}

// read returns a small blob of the layout.
func (l *layout) read(dgst digest.Digest) ([]byte, error) { return os.ReadFile(l.path(dgst)) }
