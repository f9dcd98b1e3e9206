//go:build clients

package clients

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"zotregistry.io/zot/internal/wire"
)

// node is a manifest or an index: what both may name.
type node struct {
	Config    *v1.Descriptor
	Layers    []v1.Descriptor
	Manifests []v1.Descriptor
}

// verifyTree reads all that top names, down to the layers, and compares the bytes of
// each with its digest. It returns the digests of the layers, in order.
func verifyTree(t *testing.T, read func(digest.Digest) ([]byte, error), top digest.Digest) []digest.Digest {
	t.Helper()

	var n node
	must(t, json.Unmarshal(verifyBytes(t, read, top), &n))

	var layers []digest.Digest
	for _, child := range n.Manifests {
		layers = append(layers, verifyTree(t, read, child.Digest)...)
	}

	for _, layer := range n.Layers {
		verifyBytes(t, read, layer.Digest)
		layers = append(layers, layer.Digest)
	}

	if n.Config != nil {
		verifyBytes(t, read, n.Config.Digest)
	}

	return layers
}

func verifyBytes(t *testing.T, read func(digest.Digest) ([]byte, error), dgst digest.Digest) []byte {
	t.Helper()

	body, err := read(dgst)
	if err != nil {
		t.Fatalf("%s: %v", dgst, err)
	}

	if got := dgst.Algorithm().FromBytes(body); got != dgst {
		t.Fatalf("%s: got the bytes of %s", dgst, got)
	}

	return body
}

// verifyPulled compares a layout that a client pulled with the one that was pushed.
func verifyPulled(t *testing.T, pushed *layout, dir string) {
	t.Helper()

	want := verifyTree(t, pushed.read, pushed.top.Digest)
	got := verifyTree(t, (&layout{dir: dir}).read, pushed.top.Digest)

	verifySame(t, want, got)
}

func verifySame(t *testing.T, want, got []digest.Digest) {
	t.Helper()

	if len(want) == 0 || len(want) != len(got) {
		t.Fatalf("want %d layers, got %d", len(want), len(got))
	}

	for i := range want {
		if want[i] != got[i] {
			t.Errorf("layer %d: want %s, got %s", i, want[i], got[i])
		}
	}
}

// served reads what the registry serves of one repository.
func served(t *testing.T, c *wire.Client, repo string) func(digest.Digest) ([]byte, error) {
	return func(dgst digest.Digest) ([]byte, error) {
		body, _, err := c.Manifest(t.Context(), repo, dgst.String())
		if err == nil {
			return body, nil
		}

		return c.Blob(t.Context(), repo, dgst)
	}
}

// servedDiffIDs verifies an image that the registry serves, and returns its digest and
// its layers' digests once they are decompressed, which is what engines remember.
func servedDiffIDs(t *testing.T, c *wire.Client, repo, ref string) (digest.Digest, []digest.Digest) {
	t.Helper()

	_, top, err := c.Manifest(t.Context(), repo, ref)
	must(t, err)

	read := served(t, c, repo)

	var ids []digest.Digest
	for _, layer := range verifyTree(t, read, top) {
		ids = append(ids, diffID(t, bytes.NewReader(verifyBytes(t, read, layer))))
	}

	return top, ids
}
