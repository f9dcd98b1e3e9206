package s3

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"zotregistry.io/zot/pkg/storage"
)

// root is what a bucket says of itself. It is written once, when the bucket is new.
type root struct {
	Version int    `json:"version"`
	ID      string `json:"id"`
	Secret  string `json:"secret"` // ids of uploads are signed with it (uploadid.go)
}

// rootVersion is that of the whole format. A higher one is refused before any write.
const rootVersion = 1

// checkFormat looks at nothing but the version of what is written in JSON: a newer zot may
// give the rest another meaning.
//
// Errors: storage.ErrFormat, storage.ErrDamaged.
func checkFormat(data []byte, field string, known int) error { //nolint:unparam // each format has its number
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return fmt.Errorf("%w: %w", storage.ErrDamaged, err)
	}

	var format int
	if err := json.Unmarshal(fields[field], &format); err != nil {
		return fmt.Errorf("%w: %s: %w", storage.ErrDamaged, field, err)
	}

	if format != known {
		return fmt.Errorf("%w: %s is %d, this zot knows %d", storage.ErrFormat, field, format, known)
	}

	return nil
}

// findRoot reads what the bucket is, if zot has made it. It is the first request, and so
// finds out about what is wrong with the settings.
func (b *Bucket) findRoot(ctx context.Context) error {
	data, _, err := b.client.read(ctx, rootKey, "")
	if isNotExist(err) {
		return b.checkEmpty(ctx)
	}

	if err != nil {
		return b.explain(err)
	}

	if err := checkFormat(data, "version", rootVersion); err != nil {
		return fmt.Errorf("%s: %w", rootKey, err)
	}

	if err := json.Unmarshal(data, &b.root); err != nil {
		return fmt.Errorf("%w: %s: %w", storage.ErrDamaged, rootKey, err)
	}

	if b.root.ID == "" || b.root.Secret == "" {
		return fmt.Errorf("%w: %s has no id or no secret", storage.ErrDamaged, rootKey)
	}

	return nil
}

// checkEmpty says whether a bucket without a root may become one of ours. What another
// registry has put there would be in the way, and its images would seem to be lost.
func (b *Bucket) checkEmpty(ctx context.Context) error {
	for object, err := range b.client.list(ctx, "", "", maxProbed) {
		if err != nil {
			return b.explain(err)
		}

		if object.key == rootKey { // another replica has just written it
			return b.findRoot(ctx)
		}

		if !isProbe(object.key) {
			return &SettingError{"rootdirectory", fmt.Sprintf(
				"there are objects (%s is one), but they are not of this zot; name a prefix that is empty", object.key), nil}
		}
	}

	return nil
}

// makeRoot makes a new bucket ours. If two processes do so at once, one of them reads
// what the other has written.
func (b *Bucket) makeRoot(ctx context.Context) error {
	if b.root.ID != "" {
		return nil
	}

	body, err := json.Marshal(root{Version: rootVersion, ID: uuid.NewString(), Secret: newToken() + newToken()})
	if err != nil {
		return fmt.Errorf("encode %s: %w", rootKey, err)
	}

	_, err = b.client.putOnce(ctx, rootKey, body, condition{absent: true})
	if errors.Is(err, errRefused) {
		return b.explain(err)
	}

	for try := range maxTries { // whatever the answer was: what is there counts
		if err = b.findRoot(ctx); err == nil && b.root.ID != "" {
			return nil
		}

		if err := b.pause(ctx, try); err != nil {
			return err
		}

		if _, err := b.client.putOnce(ctx, rootKey, body, condition{absent: true}); errors.Is(err, errRefused) {
			return b.explain(err)
		}
	}

	return errors.Join(errors.New("the bucket does not keep "+rootKey), err)
}
