package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
)

// target says where the parts of a blob are to be sent ("" = beside the upload), and
// whether its bytes are there already: then a client's proof that it has them is all that
// is needed.
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

	switch {
	case size < 0: // what is there may be it, or not
		return "", false, nil
	case info.size != size: // it is not what it should be
		return physical(blob.at(b.newOwn(blob.repo))), false, nil
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
	inPlace := u.sent != nil && !u.isBeside()

	switch {
	case (inPlace || u.known) && dst != u.dst:
		err = u.lose(fmt.Errorf("its bytes are at %s, not %s", u.dst, dst))
	case !isBlob && inPlace:
		placed, err = dst, u.assemble(ctx, condition{})
	case !isBlob:
		placed, err = dst, put(ctx, dst, false)
	case inPlace:
		placed, err = u.commitInPlace(ctx, blob, size)
	default:
		placed, err = u.b.store(ctx, blob, size, put)
	}

	if err != nil {
		u.forgetParts(ctx)

		return "", err
	}

	u.b.ended.Add(u.key, struct{}{})
	u.b.litter(u.clear(ctx)) // the blob is there

	return placed, u.Close()
}

// bring returns how the bytes get to a key.
func (u *upload) bring(blob blob) bring {
	sum := sumOf(blob.digest)

	return func(ctx context.Context, key string, absent bool) error {
		if u.known || u.sent != nil {
			return u.bringStaged(ctx, blob.digest, key, absent)
		}

		_, err := u.b.client.put(ctx, key, u.tail.reader(), u.tail.size, condition{absent: absent}, sum)

		return err
	}
}

// bringStaged copies what was assembled. What is there already need not be copied.
func (u *upload) bringStaged(ctx context.Context, dgst digest.Digest, key string, absent bool) error {
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

	if err := u.settleDoubt(ctx, dgst); err != nil {
		return u.lose(err)
	}

	return u.b.client.copy(ctx, u.sent.Key, key, u.staged, u.b.copying())
}

// settleDoubt reads what somebody else may have assembled: a request on the same upload
// at another replica, which got other bytes.
func (u *upload) settleDoubt(ctx context.Context, dgst digest.Digest) error {
	if !u.doubt || dgst == "" {
		return nil
	}

	object, err := u.b.openAt(ctx, u.sent.Key, storage.Whole)
	if err != nil {
		return err
	}

	got, err := dgst.Algorithm().FromReader(object.Body)
	if err = errors.Join(err, object.Close()); err != nil {
		return err
	}

	if got != dgst {
		return fmt.Errorf("another replica has assembled %s, not %s", got, dgst)
	}

	u.doubt = false

	return nil
}

// isBeside says whether parts are sent to an object beside the state, to be copied. Its
// key has a token: nobody else can replace it between the assembling and the copy.
func (u *upload) isBeside() bool {
	return strings.HasPrefix(u.sent.Key, u.key+".") && strings.HasSuffix(u.sent.Key, stagedSuffix)
}

// stage assembles the parts beside the upload.
func (u *upload) stage(ctx context.Context) error {
	if u.staged >= 0 {
		return nil
	}

	if u.known || u.sent == nil || !u.isBeside() {
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

// assemble sends the tail as the last part, and makes the object of the parts. An
// earlier try may have done so, here or in another process, of which we only know what
// was saved before: then the object is there, and no parts are.
func (u *upload) assemble(ctx context.Context, cond condition) error {
	size := u.Size()

	err := u.finishParts(ctx)
	if err == nil {
		err = u.b.client.complete(ctx, u.sent, cond)
	}

	if isNotExist(err) {
		info, headErr := u.b.client.head(ctx, u.sent.Key)
		if headErr != nil || info.size != size {
			return errors.Join(err, headErr)
		}

		err, u.doubt = nil, true
	}

	if err == nil {
		u.full, u.away = size, 0
		u.tail.free()
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
	if place := strings.TrimPrefix(key, memberPrefix(blob.digest, blob.repo)); isOwn(place) { // without dedupe, or beside what is damaged
		if err := u.assemble(ctx, condition{}); err != nil {
			return "", err
		}

		return u.b.hold(blob, place, place, size, trustWritten).Key, nil
	}

	completed := false

	placed, err := u.b.store(ctx, blob, size, func(ctx context.Context, to string, absent bool) error {
		if !completed {
			if err := u.assemble(ctx, condition{absent: absent && to == key}); err != nil {
				return err
			}

			completed = true
		}

		if to == key {
			return nil
		}

		return u.b.client.copy(ctx, key, to, size, u.b.copying())
	})

	switch {
	case err != nil:
	case !completed: // somebody else was first
		u.b.litter(u.b.client.abort(ctx, u.sent))
	case physical(placed) != key: // a generation that is over
		u.b.litter(u.b.client.delete(ctx, key))
	}

	return placed, err
}

// litter tells of something that could not be removed. It is in nobody's way.
func (b *Bucket) litter(err error) {
	if err != nil {
		b.opts.Log.Warn().Err(err).Msg("something is left in the bucket that nobody needs")
	}
}
