package s3

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"
)

// Erase implements storage.Eraser. What became of a write may not be known, or somebody was
// first: then it looks again.
func (b *Bucket) Erase(ctx context.Context, dgst digest.Digest) error {
	_, err := b.Free(ctx, dgst)

	for try := 0; err != nil && try < maxRenewals && ctx.Err() == nil && !errors.Is(err, errRefused); try++ {
		if err := b.pause(ctx, try); err != nil {
			return err
		}

		_, err = b.Free(ctx, dgst)
	}

	return err
}
