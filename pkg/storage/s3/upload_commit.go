package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"zotregistry.io/zot/pkg/storage"
)

// target says where the parts of a blob are to be sent, and whether its bytes are there
// already: then a client's proof that it has them is all that is needed.
func (b *Bucket) target(ctx context.Context, blob blob, size int64) (key string, known bool, err error) {
	if !b.opts.Dedupe {
		return physical(blob.at(b.newOwn(blob.repo))), false, nil
	}

	stone, err := b.tombstone(ctx, blob.digest)
	if err != nil {
		return "", false, err
	}

	key = dataKey(blob.digest, stone.Gen)

	info, err := b.client.head(ctx, key)
	if isNotExist(err) {
		return key, false, nil
	}

	if err != nil {
		return "", false, err
	}

	if size < 0 || info.size != size {
		return physical(blob.at(b.newOwn(blob.repo))), false, nil // what is there is not what it should be
	}

	return key, true, nil
}

// Commit brings the bytes to where they belong: from memory if they are few, by
// completing the parts if those were sent there, by a copy otherwise.
func (u *upload) Commit(ctx context.Context, dst string) (placed string, err error) {
	if err := u.check(); err != nil {
		return "", err
	}

	if err := checkKey(dst); err != nil && !u.direct {
		return "", err
	}

	size := u.Size()

	if err := u.recall(ctx); err != nil {
		return "", u.lose(err)
	}

	blob, isBlob := parseBlob(dst)
	put := u.bring(blob)
	inPlace := u.sent != nil && u.sent.Key != u.key+stagedSuffix

	switch {
	case (inPlace || u.known) && dst != u.dst:
		err = u.lose(fmt.Errorf("its bytes are at %s, not %s", u.dst, dst))
	case !isBlob && inPlace:
		placed, err = dst, errors.Join(u.finishParts(ctx), u.b.assemble(ctx, u.sent, condition{}))
	case !isBlob:
		placed, err = dst, put(ctx, dst, false)
	case inPlace:
		placed, err = u.commitInPlace(ctx, blob, size)
	default:
		placed, err = u.b.store(ctx, blob, size, put)
	}

	if err != nil {
		return "", err
	}

	u.b.ended.Add(u.key, struct{}{})

	return placed, errors.Join(u.clear(ctx), u.Close())
}

// bring returns how the bytes get to a key.
func (u *upload) bring(blob blob) bring {
	sum := sumOf(blob.digest)

	return func(ctx context.Context, key string, absent bool) error {
		if u.known || u.sent != nil {
			return u.bringStaged(ctx, key, absent)
		}

		_, err := u.b.client.put(ctx, key, u.tail.reader(), u.tail.size, condition{absent: absent}, sum)

		return err
	}
}

// bringStaged copies what was assembled. What is there already need not be copied.
func (u *upload) bringStaged(ctx context.Context, key string, absent bool) error {
	if absent {
		if info, err := u.b.client.head(ctx, key); err == nil && info.size == u.Size() {
			return nil
		} else if err != nil && !isNotExist(err) {
			return err
		}
	}

	if u.known {
		return fmt.Errorf("%w: %s was there a moment ago", storage.ErrUploadLost, key)
	}

	if err := u.stage(ctx); err != nil {
		return err
	}

	return u.b.client.copy(ctx, u.key+stagedSuffix, key, u.staged, u.b.copying())
}

// stage assembles the parts beside the upload.
func (u *upload) stage(ctx context.Context) error {
	if u.staged >= 0 {
		return nil
	}

	if u.known || u.sent == nil || u.sent.Key != u.key+stagedSuffix {
		return errors.New("its parts are elsewhere")
	}

	if err := u.finishParts(ctx); err != nil {
		return err
	}

	if err := u.b.assemble(ctx, u.sent, condition{}); err != nil {
		return err
	}

	u.staged = u.full

	return nil
}

// finishParts sends the tail as the last part.
func (u *upload) finishParts(ctx context.Context) error {
	if err := errors.Join(u.recall(ctx), u.land()); err != nil {
		return err
	}

	if u.tail.size == 0 {
		return nil
	}

	last, err := u.b.client.sendPart(ctx, u.sent, len(u.sent.Parts), u.tail.reader(), u.tail.size)
	if err != nil {
		return err
	}

	u.sent.Parts = append(u.sent.Parts, last)
	u.full += u.tail.size
	u.tail.free()

	return nil
}

// assemble completes parts. An earlier try whose answer was lost may have done so: then
// the object is there, and no parts are.
func (b *Bucket) assemble(ctx context.Context, m *multipart, cond condition) error {
	err := b.client.complete(ctx, m, cond)
	if !isNotExist(err) {
		return err
	}

	info, headErr := b.client.head(ctx, m.Key)
	if headErr != nil || info.size != m.size() {
		return errors.Join(err, headErr)
	}

	return nil
}

// write writes an object of any size, whose bytes come from content.
func (b *Bucket) write(ctx context.Context, key string, content func(io.Writer) error) error {
	u := b.newUpload(key)
	u.dst, u.direct = key, true

	if err := content(appender{ctx, u}); err != nil {
		return errors.Join(err, u.Abort(ctx))
	}

	_, err := u.Commit(ctx, key)

	return errors.Join(err, u.Close())
}

// appender is an upload as a writer.
type appender struct {
	ctx context.Context //nolint:containedctx // of the call that writes
	*upload
}

func (a appender) Write(p []byte) (int, error) {
	if err := a.Append(a.ctx, p); err != nil {
		return 0, err
	}

	return len(p), nil
}

// commitInPlace completes parts that were sent to where they belong.
func (u *upload) commitInPlace(ctx context.Context, blob blob, size int64) (string, error) {
	if err := u.finishParts(ctx); err != nil {
		return "", u.lose(err)
	}

	key := u.sent.Key
	if place := strings.TrimPrefix(key, memberPrefix(blob.digest, blob.repo)); isOwn(place) { // without dedupe, or beside what is damaged
		if err := u.b.assemble(ctx, u.sent, condition{}); err != nil {
			return "", err
		}

		return u.b.hold(blob, place, size, trustWritten).Key, nil
	}

	completed := false

	return u.b.store(ctx, blob, size, func(ctx context.Context, to string, absent bool) error {
		if to == key && !completed {
			err := u.b.assemble(ctx, u.sent, condition{absent: absent})
			completed = err == nil
			if errors.Is(err, errCondition) {
				return errors.Join(err, u.b.client.abort(ctx, u.sent))
			}

			return err
		}

		return u.b.client.copy(ctx, key, to, size, u.b.copying()) // the generation has changed meanwhile
	})
}
