package s3

import (
	"context"
	"time"
)

// OpenUnprobed is Open for tests, of which there are many: of a server that is known to
// do what is needed.
func OpenUnprobed(ctx context.Context, opts Options) (*Bucket, error) {
	b, err := connect(ctx, opts)
	if err != nil {
		return nil, err
	}

	b.client.patience.serving.Store(true)

	if err := b.findRoot(ctx); err != nil {
		return nil, err
	}

	return b, b.makeRoot(ctx)
}

// Skew moves the bucket's clock, of which ages are told.
func (b *Bucket) Skew(d time.Duration) { b.skew = d }

// Sizes are the sizes of all objects in the bucket, by key.
func (b *Bucket) Sizes(ctx context.Context) (map[string]int64, error) {
	sizes := map[string]int64{}

	for object, err := range b.client.list(ctx, "", "", 0) {
		if err != nil {
			return nil, err
		}

		sizes[object.key] = object.size
	}

	return sizes, nil
}
