package s3

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
)

// tombstone says which generation of a blob's bytes is the present one. A digest without
// one is live, with generation 0.
type tombstone struct {
	Format    int    `json:"format"`
	Gen       int    `json:"gen"`
	Condemned bool   `json:"condemned,omitempty"` // a deleter is about to end the generation
	Token     string `json:"token"`               // so that no two are equal bytes

	etag string // "" = there is none
}

const tombstoneFormat = 1

func (b *Bucket) tombstone(ctx context.Context, dgst digest.Digest) (tombstone, error) {
	data, info, err := b.client.read(ctx, tombstoneKey(dgst), "")
	if isNotExist(err) {
		return tombstone{}, nil
	}

	if err != nil {
		return tombstone{}, err
	}

	stone, err := decodeTombstone(data)
	if err != nil {
		return tombstone{}, fmt.Errorf("%s: %w", info.key, err)
	}

	stone.etag = info.etag
	if stone.Gen > 0 {
		b.gens.Add(dgst, stone.Gen)
	}

	return stone, nil
}

// decodeTombstone reads one that this zot knows.
//
// Errors: storage.ErrFormat, storage.ErrDamaged.
func decodeTombstone(data []byte) (tombstone, error) {
	if err := checkFormat(data, "format", tombstoneFormat); err != nil {
		return tombstone{}, err
	}

	var stone tombstone
	if err := json.Unmarshal(data, &stone); err != nil {
		return tombstone{}, fmt.Errorf("%w: tombstone: %w", storage.ErrDamaged, err)
	}

	if stone.Gen < 0 {
		return tombstone{}, fmt.Errorf("%w: tombstone of generation %d", storage.ErrDamaged, stone.Gen)
	}

	return stone, nil
}

// maxRenewals is how often a tombstone may change under a writer's hands.
const maxRenewals = 10

// live returns the present generation, and sees to it that no deleter ends it: the
// caller has made a membership before, so either it finds that, or we find its mark.
func (b *Bucket) live(ctx context.Context, dgst digest.Digest) (gen int, err error) {
	defer b.lockStones()()

	for range maxRenewals {
		stone, err := b.tombstone(ctx, dgst)
		if err != nil || !stone.Condemned {
			return stone.Gen, err
		}

		renewed := tombstone{Format: tombstoneFormat, Gen: stone.Gen, Token: newToken()}

		body, err := json.Marshal(renewed)
		if err != nil {
			return 0, fmt.Errorf("encode tombstone: %w", err)
		}

		// Whatever becomes of it, the tombstone is read again.
		_, err = b.client.putOnce(ctx, tombstoneKey(dgst), body, condition{match: stone.etag})
		if ctx.Err() != nil || errors.Is(err, errRefused) {
			return 0, err
		}
	}

	return 0, fmt.Errorf("tombstone of %s: it changes again and again", dgst)
}
