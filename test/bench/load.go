package main

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"zotregistry.io/zot/internal/wire"
)

// layerSize makes an image of about 10 kB, in bytes.
const layerSize = 9500

// warmRepo has the images that are pulled.
const warmRepo = "bench/warm"

func repoOf(worker int) string { return fmt.Sprintf("bench/worker%d", worker) }

func tagOf(n int) string { return fmt.Sprintf("v%d", n) }

// each calls do for 0..total-1, by as many workers as there are clients.
func each(
	ctx context.Context, clients, total int, do func(ctx context.Context, worker, n int) error,
) error {
	g, ctx := errgroup.WithContext(ctx)

	for w := range clients {
		g.Go(func() error {
			for n := w; n < total; n += clients {
				if err := do(ctx, w, n); err != nil {
					return err
				}
			}

			return nil
		})
	}

	return g.Wait()
}

// prepare makes images beforehand: neither random bytes nor digests are measured.
func (s *subject) prepare(count int, seed uint64) ([]*image, error) {
	images := make([]*image, count)

	for n := range images {
		img, err := wire.NewImage(seed+uint64(n), layerSize)
		if err != nil {
			return nil, err
		}

		images[n] = &image{Image: img}
		for _, blob := range img.Blobs {
			images[n].digests = append(images[n].digests, digest.FromBytes(blob))
		}
	}

	return images, nil
}

// image is an image with the digests of its blobs.
type image struct {
	*wire.Image
	digests []digest.Digest
}

// push is what clients do: HEAD, POST and PUT for each blob, then the manifest.
func (s *subject) push(ctx context.Context, repo, tag string, img *image) error {
	for i, blob := range img.Blobs {
		if err := s.pushBlob(ctx, repo, blob, img.digests[i]); err != nil {
			return err
		}
	}

	return s.client.PutManifest(ctx, repo, tag, v1.MediaTypeImageManifest, img.Manifest)
}

func (s *subject) pushBlob(ctx context.Context, repo string, blob []byte, dgst digest.Digest) error {
	there, err := s.client.BlobExists(ctx, repo, dgst)
	if err != nil || there {
		return err
	}

	up, err := s.client.StartUpload(ctx, repo)
	if err != nil {
		return err
	}

	return up.Finish(ctx, dgst, blob)
}

// pull reads the manifest and both blobs, and checks their bytes.
func (s *subject) pull(ctx context.Context, repo, tag string, img *image) error {
	if _, _, err := s.client.Manifest(ctx, repo, tag); err != nil {
		return err
	}

	for _, dgst := range img.digests {
		if _, err := s.client.Blob(ctx, repo, dgst); err != nil {
			return err
		}
	}

	return nil
}
