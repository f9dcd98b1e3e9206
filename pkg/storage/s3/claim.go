package s3

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// claim says that a process has begun a run of GC, at the time of the object. It saves the
// requests of others, no more.
type claim struct {
	Format int    `json:"format"`
	Token  string `json:"token"` // of whoever wrote it, unique
}

const claimFormat = 1

// Claim implements storage.Collector.
func (b *Bucket) Claim(ctx context.Context, interval time.Duration) (bool, error) {
	now, err := b.clock(ctx)
	if err != nil {
		return false, err
	}

	_, last, err := b.client.read(ctx, claimKey, "")
	if err != nil && !isNotExist(err) {
		return false, err
	}

	if err == nil && now.Sub(last.modified) < interval {
		return false, nil
	}

	mine := claim{Format: claimFormat, Token: newToken()}

	body, err := json.Marshal(mine)
	if err != nil {
		return false, fmt.Errorf("encode %s: %w", claimKey, err)
	}

	etag, err := b.exchange(ctx, claimKey, body, last.etag)

	return etag != "", err
}

// exchange puts an object in place of that with an ETag ("" = none), and returns its own; ""
// if somebody else was first. Nobody else writes the same bytes.
func (b *Bucket) exchange(ctx context.Context, key string, body []byte, old string) (etag string, err error) {
	cond := condition{match: old, absent: old == ""}

	etag, err = b.client.put(ctx, key, bytes.NewReader(body), int64(len(body)), cond, "")
	if !errors.Is(err, errCondition) && !isNotExist(err) {
		return etag, err
	}

	there, info, err := b.client.read(ctx, key, "") // a try whose answer was lost?
	if isNotExist(err) || err == nil && !bytes.Equal(there, body) {
		return "", nil
	}

	return info.etag, err
}

// clock is the bucket's time, of which ages are told.
func (b *Bucket) clock(ctx context.Context) (time.Time, error) {
	now, err := b.client.clock(ctx, rootKey)

	return now.Add(b.skew), err
}
