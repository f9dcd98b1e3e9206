package s3

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
)

// Erase implements storage.Eraser: it is the deleter of docs/s3-format.md, "Deleting", D2 to
// D6, for one digest.
func (b *Bucket) Erase(ctx context.Context, dgst digest.Digest) error {
	var data []string

	for object, err := range b.client.list(ctx, poolDir(dgst)+"data.", "", 0) {
		if err != nil {
			return err
		}

		data = append(data, object.key)
	}

	if len(data) == 0 {
		return nil
	}

	ended, err := b.endGeneration(ctx, dgst)

	// What became of a write may not be known, or somebody was first: the tombstone tells.
	for try := 0; err != nil && try < maxRenewals && ctx.Err() == nil && !errors.Is(err, errRefused); try++ {
		if err := b.pause(ctx, try); err != nil {
			return err
		}

		ended, err = b.endGeneration(ctx, dgst)
	}

	if err != nil || !ended {
		return err
	}

	for _, key := range data {
		if err := b.client.delete(ctx, key); err != nil {
			return err
		}
	}

	return nil
}

// endGeneration makes the next generation the present one, unless somebody holds the digest
// or renews it meanwhile. A crash leaves a condemned tombstone, which whoever needs the
// bytes sets live.
func (b *Bucket) endGeneration(ctx context.Context, dgst digest.Digest) (ended bool, err error) {
	stone, err := b.tombstone(ctx, dgst)
	if err != nil {
		return false, err
	}

	if !stone.Condemned {
		stone.Condemned = true
		if stone.etag, err = b.putTombstone(ctx, dgst, stone); err != nil {
			return false, err
		}
	}

	for _, err := range b.client.list(ctx, membersPrefix(dgst), "", 1) {
		return false, err // somebody holds it
	}

	stone.Gen, stone.Condemned = stone.Gen+1, false
	if _, err := b.putTombstone(ctx, dgst, stone); err != nil {
		return false, err
	}

	b.gens.Add(dgst, stone.Gen)

	return true, nil
}

// putTombstone replaces the tombstone that was read.
func (b *Bucket) putTombstone(ctx context.Context, dgst digest.Digest, next tombstone) (etag string, err error) {
	next.Format, next.Token = tombstoneFormat, newToken()

	body, err := json.Marshal(next)
	if err != nil {
		return "", fmt.Errorf("encode tombstone: %w", err)
	}

	cond := condition{match: next.etag, absent: next.etag == ""}

	etag, err = b.client.putOnce(ctx, tombstoneKey(dgst), body, cond)
	if err == nil && etag == "" {
		err = fmt.Errorf("%w: tombstone of %s", errCondition, dgst)
	}

	return etag, err
}
