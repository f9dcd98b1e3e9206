package s3

import (
	"context"
	"errors"
	"fmt"
	"io"

	"zotregistry.io/zot/pkg/storage"
)

// target says where the parts of a blob are to be sent, and whether its bytes are there
// already: then a client's proof that it has them is all that is needed.
func (b *Bucket) target(ctx context.Context, blob blob, size int64) (key string, known bool, err error) {
	if !b.opts.Dedupe {
		return blob.at(newToken()), false, nil
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

	// What is there and is not what it should be is replaced in the end (bringData).
	return key, err == nil && size >= 0 && info.size == size, err
}

// Commit brings the bytes to where they belong: from memory if they are few, by
// completing the parts if those were sent there, by a copy otherwise.
func (u *upload) Commit(ctx context.Context, dst string) (placed string, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()

	if err := u.check(); err != nil {
		return "", err
	}

	if err := checkKey(dst); err != nil && !u.direct {
		return "", err
	}

	if err := u.gather(ctx); err != nil {
		return "", u.lose(ctx, err)
	}

	if placed, err = u.commit(ctx, dst); err != nil {
		u.forgetParts(ctx)

		return "", err
	}

	u.b.ended.Add(u.key, struct{}{})
	u.b.litter(u.clear(ctx)) // the blob is there
	u.close()

	return placed, nil
}

func (u *upload) commit(ctx context.Context, dst string) (placed string, err error) {
	blob, isBlob := parseBlob(dst)

	if was, ok := parseBlob(u.dst); ok && isBlob && blob.place == "" && was.key() == dst {
		dst, blob = u.dst, was // the place that was to be healed is as good as any
	}

	inPlace := u.sent != nil && u.sent.Key != u.key+stagedSuffix

	switch {
	case (inPlace || u.known) && dst != u.dst:
		return "", u.lose(ctx, fmt.Errorf("its bytes are at %s, not %s", u.dst, dst))
	case isBlob && inPlace:
		return u.commitInPlace(ctx, blob, u.size())
	case isBlob:
		return u.b.store(ctx, blob, u.size(), u.bring(blob))
	case inPlace:
		return dst, u.assemble(ctx, condition{})
	}

	return dst, u.bring(blob)(ctx, dst, false)
}

// bring returns how the bytes get to a key.
func (u *upload) bring(blob blob) bring {
	sum := sumOf(blob.digest)

	return func(ctx context.Context, key string, absent bool) error {
		if u.known || u.sent != nil {
			return u.bringStaged(ctx, key, absent)
		}

		_, err := u.b.client.put(ctx, key, u.readTail(0), u.tailSize(), condition{absent: absent}, sum)

		return err
	}
}

// bringStaged copies what was assembled. What is there already need not be copied.
func (u *upload) bringStaged(ctx context.Context, key string, absent bool) error {
	if absent {
		if info, err := u.b.client.head(ctx, key); err == nil && info.size == u.size() {
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

	if err := u.assemble(ctx, condition{}); err != nil {
		return err
	}

	u.staged = u.full

	return nil
}

// finishParts sends the tail as the last part.
func (u *upload) finishParts(ctx context.Context) error {
	if err := errors.Join(u.gather(ctx), u.land()); err != nil {
		return err
	}

	size := u.tailSize()
	if size == 0 {
		return nil
	}

	last, err := u.b.client.sendPart(ctx, u.sent, len(u.sent.Parts), u.readTail(0), size)
	if err != nil {
		return err
	}

	u.sent.Parts = append(u.sent.Parts, last)
	u.full += size
	u.dropTail()

	return nil
}

// assemble sends the tail as the last part, and makes the object of the parts. An
// earlier try may have done so, here or in another process, of which we only know what
// was saved before: then the object is there, and no parts are.
func (u *upload) assemble(ctx context.Context, cond condition) error {
	size := u.size()

	err := u.finishParts(ctx)
	if err == nil {
		err = u.b.client.complete(ctx, u.sent, cond)
	}

	if isNotExist(err) {
		info, headErr := u.b.client.head(ctx, u.sent.Key)
		if headErr != nil || info.size != size {
			return errors.Join(err, headErr)
		}

		err = nil
	}

	if err == nil {
		u.full = size
		u.dropTail()
	}

	return err
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
	key := u.sent.Key
	if own, ok := parseBlob(key); ok { // without dedupe
		blob.place = own.place
	}

	if blob.place != "" {
		if err := u.assemble(ctx, condition{}); err != nil {
			return "", err
		}

		return u.b.hold(blob, blob.place, size, trustWritten).Key, nil
	}

	completed := false

	placed, err := u.b.store(ctx, blob, size, func(ctx context.Context, to string, absent bool) (err error) {
		if to == key && !completed {
			err = u.assemble(ctx, condition{absent: absent})
			completed = err == nil

			return err
		}

		return u.b.client.copy(ctx, key, to, size, u.b.copying()) // the generation has changed meanwhile
	})
	if err == nil && !completed { // somebody else was first
		u.b.litter(u.b.client.abort(ctx, u.sent))
	}

	return placed, err
}

// litter tells of something that could not be removed. It is in nobody's way.
func (b *Bucket) litter(err error) {
	if err != nil {
		b.opts.Log.Warn().Err(err).Msg("something is left in the bucket that nobody needs")
	}
}
