package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// chunkSize is what PushChunked sends at once, in bytes.
const chunkSize = 64 << 10

// Image is a manifest and all that it names. It is not changed once it is made.
type Image struct {
	Manifest []byte
	Digest   digest.Digest // of the manifest
	Blobs    [][]byte      // config first, then the layers
}

// NewImage makes an image whose layers have the given sizes in bytes. The same
// seed gives the same image.
func NewImage(seed uint64, layers ...int) (*Image, error) {
	config, err := json.Marshal(v1.Image{
		Platform: v1.Platform{Architecture: "amd64", OS: "linux"},
		Config:   v1.ImageConfig{Labels: map[string]string{"seed": fmt.Sprint(seed)}},
		RootFS:   v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{}},
	})
	if err != nil {
		return nil, err
	}

	blobs := [][]byte{config}
	random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24), 1})

	for _, size := range layers {
		layer := make([]byte, size)
		_, _ = random.Read(layer) // never fails, by its documentation
		blobs = append(blobs, layer)
	}

	return NewImageOf(nil, blobs...)
}

// NewImageOf makes an image of blobs, the config first; with a subject, if there is one,
// it is an artifact that refers to that.
func NewImageOf(subject *Image, blobs ...[]byte) (*Image, error) {
	m := manifestOf(blobs)

	if subject != nil {
		m.ArtifactType = ArtifactType
		of := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: subject.Digest, Size: int64(len(subject.Manifest))}
		m.Subject = &of
	}

	body, err := json.Marshal(m)

	return &Image{Manifest: body, Digest: digest.FromBytes(body), Blobs: blobs}, err
}

// ArtifactType is the artifact type of images that have a subject.
const ArtifactType = "application/vnd.example.signature"

func manifestOf(blobs [][]byte) v1.Manifest {
	m := v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageManifest,
		Config:    describe(v1.MediaTypeImageConfig, blobs[0]),
		Layers:    []v1.Descriptor{},
	}
	for _, layer := range blobs[1:] {
		m.Layers = append(m.Layers, describe(v1.MediaTypeImageLayer, layer))
	}

	return m
}

func describe(mediaType string, blob []byte) v1.Descriptor {
	return v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(blob), Size: int64(len(blob))}
}

// PushBlob is one way to push a blob: a method of Client, such as
// (*Client).PushChunked.
type PushBlob func(c *Client, ctx context.Context, repo string, blob []byte) error

// PushMonolithic opens a session and sends all bytes with the PUT that closes it.
func (c *Client) PushMonolithic(ctx context.Context, repo string, blob []byte) error {
	u, err := c.StartUpload(ctx, repo)
	if err != nil {
		return err
	}

	return u.Finish(ctx, digest.FromBytes(blob), blob)
}

// PushChunked sends chunks of 64 KiB.
func (c *Client) PushChunked(ctx context.Context, repo string, blob []byte) error {
	u, err := c.StartUpload(ctx, repo)
	if err != nil {
		return err
	}

	for from := 0; from < len(blob); from += chunkSize {
		chunk := blob[from:min(from+chunkSize, len(blob))]
		if err := u.Append(ctx, int64(from), chunk); err != nil {
			return err
		}
	}

	return u.Finish(ctx, digest.FromBytes(blob), nil)
}

// PushStreamed sends all bytes in one PATCH of unknown length.
func (c *Client) PushStreamed(ctx context.Context, repo string, blob []byte) error {
	u, err := c.StartUpload(ctx, repo)
	if err != nil {
		return err
	}

	if err := u.Stream(ctx, bytes.NewReader(blob)); err != nil {
		return err
	}

	return u.Finish(ctx, digest.FromBytes(blob), nil)
}

// PushImage pushes the blobs and then the manifest, under tag.
func (c *Client) PushImage(ctx context.Context, repo, tag string, img *Image, push PushBlob) error {
	for _, blob := range img.Blobs {
		if err := push(c, ctx, repo, blob); err != nil {
			return err
		}
	}

	return c.PutManifest(ctx, repo, tag, v1.MediaTypeImageManifest, img.Manifest)
}

// PullImage reads the manifest at ref and all blobs that it names, and checks the
// bytes of each against its digest and size. It returns the manifest.
//
// Errors: ErrNotFound if the manifest is not there; ErrMissing if a blob is not.
func (c *Client) PullImage(ctx context.Context, repo, ref string) ([]byte, error) {
	body, _, err := c.Manifest(ctx, repo, ref)
	if err != nil {
		return nil, err
	}

	var m v1.Manifest
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, fmt.Errorf("manifest %s of %s: %w", ref, repo, err)
	}

	for _, d := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		if err := c.pullNamed(ctx, repo, d); err != nil {
			return nil, fmt.Errorf("image %s of %s: %w", ref, repo, err)
		}
	}

	return body, nil
}

// ErrMissing says that an image's manifest is served, but not all that it names.
var ErrMissing = errors.New("a blob of the image is missing")

func (c *Client) pullNamed(ctx context.Context, repo string, d v1.Descriptor) error {
	blob, err := c.Blob(ctx, repo, d.Digest)

	switch {
	case errors.Is(err, ErrNotFound):
		return fmt.Errorf("%w: %s", ErrMissing, d.Digest)
	case err != nil:
		return err
	case int64(len(blob)) != d.Size:
		return fmt.Errorf("blob %s: %d bytes, its descriptor says %d", d.Digest, len(blob), d.Size)
	default:
		return nil
	}
}
