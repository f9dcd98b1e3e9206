package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"zotregistry.io/zot/pkg/storage"
)

// maxTail is how much of its tail an upload that nobody uses at the moment keeps, so that
// the next request need not read it again.
const maxTail = 1 << 20

// upload is bytes that are still arriving: parts of a multipart upload that are sent, one
// that may be under way, and the tail, which is not sent yet. All but the last part have
// the same size, since Cloudflare's R2 takes no others.
type upload struct {
	b    *Bucket
	key  string // storage.UploadKey: where the state is saved
	over bool   // committed, aborted or closed
	lost error  // why it cannot go on

	dst      string // where it will be committed to, "" = unknown
	direct   bool   // dst is no blob, and parts may be sent there
	expected int64  // bytes, -1 = unknown
	partSize int64  // 0 = not decided

	sent   *multipart // nil = nothing is sent
	known  bool       // the bytes are at dst already: none need to be sent
	staged int64      // bytes at sent.Key, once the parts are assembled beside the state; -1 = they are not
	doubt  bool       // the parts were assembled by somebody else, perhaps with other bytes
	flying *flight    // a part under way
	full   int64      // bytes that are sent, or on their way, or known
	tail   *buffer    // what is not sent yet
	away   int64      // bytes of the tail that only the saved state has
	saved  bool       // a state is saved, perhaps
	etag   string     // of that state: another replica may have saved one of its own since
}

// flight is a part on its way.
type flight struct {
	done chan struct{}
	part part
	err  error
}

// CreateUpload begins an upload, without a request.
func (b *Bucket) CreateUpload(_ context.Context, key string) (storage.Upload, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}

	return b.newUpload(key), nil
}

func (b *Bucket) newUpload(key string) *upload {
	return &upload{b: b, key: key, expected: -1, staged: -1, tail: b.parts.buffer()}
}

func (u *upload) check() error {
	if u.over {
		return fmt.Errorf("upload %s: %w", u.key, fs.ErrClosed)
	}

	return u.lost
}

// Expect takes the destination for where parts are sent, if none is sent yet.
func (u *upload) Expect(dst string, size int64) {
	if u.full == 0 {
		u.dst, u.expected = dst, size
	}
}

// Size is how many bytes were taken. They are safe when they are saved.
func (u *upload) Size() int64 { return u.full + u.tailSize() }

func (u *upload) tailSize() int64 { return u.tail.size + u.away }

// Append adds to the tail, and sends it when it is a part.
func (u *upload) Append(ctx context.Context, p []byte) error {
	if err := u.check(); err != nil {
		return err
	}

	if u.staged >= 0 {
		return u.lose(errors.New("its parts are assembled already"))
	}

	if err := u.append(ctx, p); err != nil {
		u.forgetParts(ctx)

		return u.lose(err)
	}

	return nil
}

// forgetParts drops parts of an upload that has failed, if no saved state names them: then
// nobody would.
func (u *upload) forgetParts(ctx context.Context) {
	if u.saved || u.sent == nil || u.staged >= 0 {
		return
	}

	_ = u.land() // it is not wanted any more
	u.b.litter(u.b.client.abort(context.WithoutCancel(ctx), u.sent))
}

// lose ends what this process can do for an upload: what was not saved is gone.
func (u *upload) lose(err error) error {
	u.lost = fmt.Errorf("upload %s: %w: %w", u.key, storage.ErrUploadLost, err)

	return u.lost
}

func (u *upload) append(ctx context.Context, p []byte) error {
	if u.expected > maxParts*maxPart {
		return fmt.Errorf("%w: %d bytes are announced, S3 takes %d at most", storage.ErrSize, u.expected, int64(maxParts*maxPart))
	}

	if err := u.recall(ctx); err != nil {
		return err
	}

	for len(p) > 0 && !u.known {
		u.decide()

		if u.tail.size == u.partSize {
			if err := u.send(ctx); err != nil {
				return err
			}

			continue
		}

		n, err := u.tail.Write(p[:min(int64(len(p)), u.partSize-u.tail.size)])
		if err != nil {
			return err
		}

		p = p[n:]
	}

	u.full += int64(len(p)) // what is known need not be kept

	return nil
}

// recall reads the tail back that was saved and let go.
func (u *upload) recall(ctx context.Context) error {
	if u.away == 0 {
		return nil
	}

	saved, err := u.b.openState(ctx, u.key, u.etag)
	if err != nil {
		return err
	}

	n, err := io.CopyBuffer(u.tail, saved, make([]byte, 32<<10))
	if err = errors.Join(err, saved.Close()); err == nil && n != u.away {
		err = fmt.Errorf("%w: the saved tail has %d bytes, not %d", storage.ErrDamaged, n, u.away)
	}

	u.away = 0

	return err
}

// decide settles the size of parts: that of the whole, if it is known and small; otherwise
// so that a part is not larger than needed. Where the destination is not known yet, more
// may come in later requests than this one says.
func (u *upload) decide() {
	if u.partSize > 0 {
		return
	}

	least := max(minPart, roundUp(u.expected/maxParts+1, blockSize))
	u.partSize = u.b.opts.PartSize

	switch {
	case u.expected < 0:
	case u.dst == "":
		u.partSize = max(u.partSize, least)
	case u.expected <= u.partSize:
		u.partSize = max(u.expected, minPart)
	default:
		u.partSize = least
	}
}

func roundUp(n, step int64) int64 { return (n + step - 1) / step * step }

// send sends the tail as a part while the next one is read.
func (u *upload) send(ctx context.Context) error {
	if err := u.begin(ctx); err != nil || u.known {
		return err
	}

	if err := u.land(); err != nil {
		return err
	}

	if len(u.sent.Parts) == maxParts {
		return fmt.Errorf("%w: more than %d parts of %d bytes", storage.ErrSize, maxParts, u.partSize)
	}

	u.full += u.tail.size // before it is sent: then it may be empty
	u.launch(ctx, u.tail)
	u.tail = u.b.parts.buffer()

	return nil
}

// begin begins the multipart upload: where the bytes belong, if that is known, and unless
// they are there already.
func (u *upload) begin(ctx context.Context) (err error) {
	if u.sent != nil {
		return nil
	}

	key := u.key + "." + newToken() + stagedSuffix // another replica may send parts of its own
	if u.direct {
		key = u.dst
	}

	if blob, ok := parseBlob(u.dst); ok && blob.place == "" {
		var target string

		target, u.known, err = u.b.target(ctx, blob, u.expected)
		key = cmp.Or(target, key)
	}

	if u.known {
		u.full += u.tail.size
		u.tail.free()

		return nil
	}

	if err == nil {
		u.sent, err = u.b.client.begin(ctx, key)
	}

	return err
}

// launch sends a buffer as the next part, and frees it.
func (u *upload) launch(ctx context.Context, full *buffer) {
	f := &flight{done: make(chan struct{})}
	u.flying = f

	n, sent := len(u.sent.Parts), u.sent

	go func() {
		defer close(f.done)

		f.part, f.err = u.b.client.sendPart(ctx, sent, n, full.reader(), full.size)
		full.free()
	}()
}

// land waits for the part under way.
func (u *upload) land() error {
	if u.flying == nil {
		return nil
	}

	<-u.flying.done
	f := u.flying
	u.flying = nil

	if f.err != nil {
		return f.err
	}

	u.sent.Parts = append(u.sent.Parts, f.part)

	return nil
}

// Reader reads the bytes once more. Parts have to be assembled for that, and then nothing
// can be added any more.
//
// Errors: storage.ErrRange.
func (u *upload) Reader(ctx context.Context, offset int64) (io.ReadCloser, error) {
	if err := u.check(); err != nil {
		return nil, err
	}

	if offset < 0 || offset > u.Size() {
		return nil, fmt.Errorf("upload %s: %w: offset %d of %d", u.key, storage.ErrRange, offset, u.Size())
	}

	if u.sent == nil && !u.known {
		if err := u.recall(ctx); err != nil {
			return nil, u.lose(err)
		}

		return u.readTail(offset)
	}

	if err := u.stage(ctx); err != nil {
		return nil, u.lose(err)
	}

	object, err := u.b.openAt(ctx, u.sent.Key, storage.Range{Offset: offset, Length: -1})
	if err != nil {
		return nil, err
	}

	return readCloser{object.Body, object.Closer}, nil
}

// readTail reads the tail, which is all that there is.
func (u *upload) readTail(offset int64) (io.ReadCloser, error) {
	tail := u.tail.reader()
	if _, err := tail.Seek(offset, io.SeekStart); err != nil {
		return nil, err
	}

	return io.NopCloser(tail), nil
}

type readCloser struct {
	io.Reader
	io.Closer
}

// Abort drops the bytes.
func (u *upload) Abort(ctx context.Context) error {
	if u.over {
		return fmt.Errorf("upload %s: %w", u.key, fs.ErrClosed)
	}

	var errs []error

	if u.flying != nil {
		errs = append(errs, ignore(u.land()))
	}

	if u.sent != nil && u.staged < 0 {
		errs = append(errs, u.b.client.abort(ctx, u.sent))
	}

	u.b.ended.Add(u.key, struct{}{})

	return errors.Join(errors.Join(errs...), u.clear(ctx), u.Close())
}

// ignore drops the error of what is not wanted any more.
func ignore(error) error { return nil }

// clear removes what an upload leaves beside its blob.
func (u *upload) clear(ctx context.Context) error {
	var errs []error

	if u.staged >= 0 {
		errs = append(errs, u.b.client.delete(ctx, u.sent.Key))
	}

	if u.saved {
		errs = append(errs, u.b.client.delete(ctx, u.key))
	}

	return errors.Join(errs...)
}

// Close lets go of the memory. What was not saved is lost.
func (u *upload) Close() error {
	if u.over {
		return nil
	}

	u.over = true

	if u.flying != nil {
		<-u.flying.done
	}

	u.tail.free()

	return nil
}
