//go:build clients

package clients

import (
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"zotregistry.io/zot/internal/wire"
)

// bigSize is a little more than what a signed 32-bit number holds, in bytes.
const bigSize = 2 << 30

// TestBigLayer carries a layer of 2 GiB to the registry and back, with skopeo, which
// streams it, and with oras, which names the digest first. It needs 6 GiB of disk.
func TestBigLayer(t *testing.T) {
	l, layer := newBigLayout(t)

	onEachStore(t, func(t *testing.T, addr string, _ *wire.Client) { carryBigLayer(t, addr, l, layer) })
}

func carryBigLayer(t *testing.T, addr string, l *layout, layer digest.Digest) {
	t.Helper()

	sh := newShell(t)

	t.Run("skopeo", func(t *testing.T) {
		ref := addr + "/big/skopeo:" + tag
		pushSkopeo(t, sh, addr, ref, l.dir)

		pulled := &layout{dir: filepath.Join(t.TempDir(), "pulled")}
		pullSkopeo(t, sh, addr, ref, pulled.dir)

		if got := fileDigest(t, pulled.path(layer)); got != layer {
			t.Errorf("pulled %s, pushed %s", got, layer)
		}
	})

	t.Run("oras", func(t *testing.T) {
		ref := addr + "/big/oras:" + tag

		t.Chdir(filepath.Dir(l.path(layer)))
		sh.run(t, "oras", "push", "--plain-http", ref, layer.Encoded()+":application/octet-stream")

		dir := t.TempDir()
		sh.run(t, "oras", "pull", "--plain-http", "-o", dir, ref)

		if got := fileDigest(t, filepath.Join(dir, layer.Encoded())); got != layer {
			t.Errorf("pulled %s, pushed %s", got, layer)
		}
	})
}

// newBigLayout writes an image with one layer of 2 GiB that does not compress, and
// returns the layer's digest.
func newBigLayout(t *testing.T) (*layout, digest.Digest) {
	t.Helper()

	l := &layout{dir: t.TempDir()}
	blobs := filepath.Join(l.dir, "blobs", "sha256")
	must(t, os.MkdirAll(blobs, 0o755))

	f, err := os.Create(filepath.Join(blobs, "new"))
	must(t, err)

	hash := sha256.New()
	writeArchive(t, io.MultiWriter(f, hash), 3, "big", bigSize)
	must(t, f.Close())

	info, err := os.Stat(f.Name())
	must(t, err)

	layer := digest.NewDigest(digest.SHA256, hash)
	must(t, os.Rename(f.Name(), l.path(layer)))

	l.top = l.addImage(t,
		v1.Manifest{
			Versioned: specs.Versioned{SchemaVersion: 2},
			MediaType: v1.MediaTypeImageManifest,
			Layers:    []v1.Descriptor{{MediaType: v1.MediaTypeImageLayerGzip, Digest: layer, Size: info.Size()}},
		},
		v1.Image{
			Platform: v1.Platform{Architecture: "amd64", OS: "linux"},
			RootFS:   v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{layerDiffID(t, l.path(layer))}},
		})
	l.finish(t)

	return l, layer
}

func layerDiffID(t *testing.T, path string) digest.Digest {
	t.Helper()

	f, err := os.Open(path)
	must(t, err)
	defer f.Close()

	return diffID(t, f)
}
