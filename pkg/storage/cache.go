package storage

import (
	"context"

	"github.com/opencontainers/go-digest"
)

// Cache remembers which keys of one image store hold a digest, so that equal bytes
// are stored once. It is a hint, never the truth: each answer is checked by using
// it, it may forget anything at any time, and no request fails because it does.
// Methods may be called concurrently.
//
// storagetest.TestCache holds every driver to this page.
type Cache interface {
	// Name is the name of the driver, as in the configuration.
	Name() string

	// GetBlob returns one key that holds dgst: the first that was put and is not
	// deleted.
	//
	// Errors: ErrCacheMiss.
	GetBlob(ctx context.Context, dgst digest.Digest) (string, error)

	// GetAllBlobs returns the keys that hold dgst, the one of GetBlob first.
	//
	// Errors: ErrCacheMiss.
	GetAllBlobs(ctx context.Context, dgst digest.Digest) ([]string, error)

	// PutBlob remembers that key holds dgst. It is visible in this process when it
	// returns. Putting a pair again changes nothing.
	PutBlob(ctx context.Context, dgst digest.Digest, key string) error

	// HasBlob says whether key is remembered as holding dgst.
	HasBlob(ctx context.Context, dgst digest.Digest, key string) (bool, error)

	// DeleteBlob forgets that key holds dgst. Forgetting what is not known is no
	// error.
	DeleteBlob(ctx context.Context, dgst digest.Digest, key string) error

	// Close writes what is not yet written, and lets go.
	Close() error
}
