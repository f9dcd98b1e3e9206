package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"zotregistry.io/zot/pkg/storage"
)

// How large what is outside of the budget may be. Few bytes are kept in memory until
// they prove to be more; a part has room reserved before. And what an upload that nobody
// uses at the moment keeps of its tail, so that the next request need not read it again.
const (
	maxSmall = 256 << 10
	maxTail  = 1 << 20 // of one upload
	maxTails = 16 << 20
)

// upload is bytes that are still arriving: parts of a multipart upload that are sent, one
// that may be under way, and the tail, which is not sent yet. All but the last part have
// the same size, since Cloudflare's R2 takes no others.
//
// The tail begins with what was saved and let go (away); the rest is in small, or in tail.
type upload struct {
	b   *Bucket
	key string // storage.UploadKey: where the state is saved

	mu sync.Mutex // held by methods; between two of them the tail may be put aside (aside.go)

	over bool  // committed, aborted or closed
	lost error // why it cannot go on

	dst      string // where it will be committed to, "" = unknown
	direct   bool   // dst is no blob, and parts may be sent there
	expected int64  // bytes, -1 = unknown
	partSize int64  // 0 = not decided

	sent   *multipart // nil = nothing is sent
	known  bool       // the bytes are at dst already: none need to be sent
	staged int64      // bytes at key + stagedSuffix, once the parts are assembled; -1 = they are not
	flying *flight    // a part under way
	full   int64      // bytes that are sent, or on their way, or known
	away   []spot     // the first bytes of the tail
	small  []byte     // the rest, while it is small and tail is nil
	tail   *buffer    // the rest
	saved  bool       // a state is saved, perhaps
	aside  []string   // objects with what was put aside
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
	return &upload{b: b, key: key, expected: -1, staged: -1}
}

func (u *upload) check() error {
	if u.over {
		return fmt.Errorf("upload %s: %w", u.key, fs.ErrClosed)
	}

	return u.lost
}

// Expect takes the destination for where parts are sent, if none is sent yet.
func (u *upload) Expect(dst string, size int64) {
	u.mu.Lock()
	defer u.mu.Unlock()

	u.expected = size

	if u.full == 0 {
		u.dst = dst
	}
}

// Size is how many bytes were taken. They are safe when they are saved.
func (u *upload) Size() int64 {
	u.mu.Lock()
	defer u.mu.Unlock()

	return u.size()
}

func (u *upload) size() int64 { return u.full + u.tailSize() }

func (u *upload) tailSize() int64 {
	size := u.awaySize() + int64(len(u.small))
	if u.tail != nil {
		size += u.tail.size
	}

	return size
}

func (u *upload) awaySize() int64 {
	size := int64(0)
	for _, at := range u.away {
		size += at.size
	}

	return size
}

// Append adds to the tail, and sends it when it is a part.
func (u *upload) Append(ctx context.Context, p []byte) error {
	u.mu.Lock()
	defer u.mu.Unlock()

	if err := u.check(); err != nil {
		return err
	}

	if u.staged >= 0 {
		return u.lose(ctx, errors.New("its parts are assembled already"))
	}

	if err := u.append(ctx, p); err != nil {
		return u.lose(ctx, err)
	}

	return nil
}

// lose ends what this process can do for an upload: what was not saved is gone.
func (u *upload) lose(ctx context.Context, err error) error {
	u.lost = fmt.Errorf("upload %s: %w: %w", u.key, storage.ErrUploadLost, err)
	u.forgetParts(ctx)

	return u.lost
}

// forgetParts drops parts that nobody knows of but this process, which is about to forget
// them.
func (u *upload) forgetParts(ctx context.Context) {
	if u.saved || u.sent == nil || u.staged >= 0 {
		return
	}

	_ = u.land() // it is not wanted any more
	u.b.litter(u.b.client.abort(context.WithoutCancel(ctx), u.sent))
}

func (u *upload) append(ctx context.Context, p []byte) error {
	if u.known || u.tail != nil {
		return u.add(ctx, p)
	}

	if len(u.small)+len(p) <= maxSmall {
		u.small = append(u.small, p...)

		return nil
	}

	small := u.small
	u.small = nil

	if err := u.add(ctx, small); err != nil {
		return err
	}

	return u.add(ctx, p)
}

// add adds to a tail that is not small, and sends it when it is a part.
func (u *upload) add(ctx context.Context, p []byte) error {
	for len(p) > 0 && !u.known {
		if err := u.room(ctx); err != nil {
			return err
		}

		if !u.known {
			p = p[u.tail.add(p[:min(int64(len(p)), u.partSize-u.tailSize())]):]
		}
	}

	u.full += int64(len(p)) // of what is known nothing is kept

	return nil
}

// room sees to it that the tail has room for a byte at least.
func (u *upload) room(ctx context.Context) (err error) {
	u.decide()

	if u.tailSize() >= u.partSize {
		if err := u.send(ctx); err != nil || u.known {
			return err
		}
	}

	switch {
	case u.tail == nil:
		u.tail, err = u.b.parts.reserve(ctx, u.partRoom(), u)
	case u.tail.size == u.tail.reserved:
		err = u.grow(ctx)
	}

	return err
}

// grow moves a tail to where the rest of a part has room. Whoever waits for memory of
// parts must hold none: the others may be waiting, too.
func (u *upload) grow(ctx context.Context) (err error) {
	old, need := u.tail, u.tail.size+u.partRoom()

	next := u.b.parts.tryReserve(need, u)
	if next == nil && old.budget == u.b.parts {
		if err := u.putAside(ctx); err != nil {
			return err
		}

		u.tail, err = u.b.parts.reserve(ctx, u.partRoom(), u)

		return err
	}

	if next == nil {
		if next, err = u.b.parts.reserve(ctx, need, u); err != nil {
			return err
		}
	}

	u.tail = next
	old.moveTo(next)

	return nil
}

// gather brings the tail together in memory, in small or in tail. What is more than a part
// is sent.
func (u *upload) gather(ctx context.Context) error {
	if len(u.away) == 0 {
		return nil
	}

	u.decide()

	size := u.tailSize()
	if size <= maxSmall && u.tail == nil {
		return u.gatherSmall(ctx)
	}

	if size <= u.partSize {
		return u.fetch(ctx, size)
	}

	small := u.small
	u.small = nil

	return u.add(ctx, small)
}

func (u *upload) gatherSmall(ctx context.Context) error {
	all := bytes.NewBuffer(make([]byte, 0, u.tailSize()))

	for _, at := range u.away {
		if err := u.b.readSpot(ctx, at, all); err != nil {
			return err
		}
	}

	u.small, u.away = append(all.Bytes(), u.small...), nil

	return nil
}

// fetch brings the tail together in tail, with room for so many bytes.
func (u *upload) fetch(ctx context.Context, room int64) error {
	if u.tail != nil {
		if err := u.putAside(ctx); err != nil { // nobody holds memory who waits for more
			return err
		}
	}

	var err error
	if u.tail, err = u.b.parts.reserve(ctx, room, u); err != nil {
		return err
	}

	for _, at := range u.away {
		if err := u.b.readSpot(ctx, at, u.tail); err != nil {
			return err
		}
	}

	u.tail.add(u.small)
	u.away, u.small = nil, nil

	return nil
}

// decide settles the size of parts when more than a little is coming: that of the whole,
// if it is known and small; otherwise so that a part is not larger than needed.
func (u *upload) decide() {
	if u.partSize > 0 {
		return
	}

	least := roundUp(u.expected/maxParts+1, blockSize)
	u.partSize = u.b.opts.PartSize

	switch {
	case u.expected < 0:
	case u.dst == "": // more may come in later requests
		u.partSize = max(u.partSize, least)
	case u.expected <= u.partSize:
		u.partSize = max(u.expected, minPart)
	default:
		u.partSize = max(minPart, least)
	}

	u.partSize = min(u.partSize, u.b.parts.size/2)
}

func roundUp(n, step int64) int64 { return (n + step - 1) / step * step }

// partRoom is how many bytes more the part that the tail will be may need.
func (u *upload) partRoom() int64 {
	room := u.partSize - u.tailSize()

	if left := u.expected - u.size(); u.expected >= 0 && left > 0 {
		return min(room, left)
	}

	return room
}

// send sends the tail as a part while the next one is read, if there is memory for both.
func (u *upload) send(ctx context.Context) error {
	if err := u.begin(ctx); err != nil || u.known {
		return err
	}

	if len(u.away) > 0 {
		if err := u.fetch(ctx, u.partSize); err != nil {
			return err
		}
	}

	if err := u.land(); err != nil {
		return err
	}

	if len(u.sent.Parts) == maxParts {
		return fmt.Errorf("%w: more than %d parts of %d bytes", storage.ErrSize, maxParts, u.partSize)
	}

	u.full += u.tail.size
	u.launch(ctx, u.tail)
	u.tail = nil

	if u.tail = u.b.parts.tryReserve(u.partRoom(), u); u.tail != nil {
		return nil
	}

	return u.land()
}

// begin begins the multipart upload: where the bytes belong, if that is known, and unless
// they are there already.
func (u *upload) begin(ctx context.Context) (err error) {
	if u.sent != nil {
		return nil
	}

	key := u.key + stagedSuffix
	if u.direct {
		key = u.dst
	}

	if blob, ok := parseBlob(u.dst); ok && blob.place != "" {
		key = physical(u.dst) // what is there is damaged
	} else if ok {
		key, u.known, err = u.b.target(ctx, blob, u.expected)
	}

	if u.known {
		u.full += u.tailSize()
		u.dropTail()

		return nil
	}

	if err == nil {
		u.sent, err = u.b.client.begin(ctx, key)
	}

	return err
}

// launch sends a buffer as the next part, and frees it.
func (u *upload) launch(ctx context.Context, full *buffer) {
	full.keep()

	f := &flight{done: make(chan struct{})}
	u.flying = f

	n, sent := len(u.sent.Parts), u.sent

	go func() {
		defer close(f.done)

		full.pos = 0
		f.part, f.err = u.b.client.sendPart(ctx, sent, n, full, full.size)
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
	u.mu.Lock()
	defer u.mu.Unlock()

	if err := u.check(); err != nil {
		return nil, err
	}

	if offset < 0 || offset > u.size() {
		return nil, fmt.Errorf("upload %s: %w: offset %d of %d", u.key, storage.ErrRange, offset, u.size())
	}

	if u.sent == nil && !u.known {
		if err := u.gather(ctx); err != nil {
			return nil, u.lose(ctx, err)
		}
	}

	if u.sent == nil && !u.known {
		u.tail.keep() // while it is read

		return io.NopCloser(u.readTail(offset)), nil
	}

	if err := u.stage(ctx); err != nil {
		return nil, u.lose(ctx, err)
	}

	object, err := u.b.openAt(ctx, u.key+stagedSuffix, storage.Range{Offset: offset, Length: -1})
	if err != nil {
		return nil, err
	}

	return readCloser{object.Body, object.Closer}, nil
}

type readCloser struct {
	io.Reader
	io.Closer
}

// readTail reads the tail, which is in memory.
func (u *upload) readTail(offset int64) io.ReadSeeker {
	if u.tail == nil {
		return bytes.NewReader(u.small[offset:])
	}

	again := *u.tail
	again.pos = offset

	return &again
}

// Abort drops the bytes.
func (u *upload) Abort(ctx context.Context) error {
	u.mu.Lock()
	defer u.mu.Unlock()

	if u.over {
		return fmt.Errorf("upload %s: %w", u.key, fs.ErrClosed)
	}

	_ = u.land() // it is not wanted any more

	var err error
	if u.sent != nil && u.staged < 0 {
		err = u.b.client.abort(ctx, u.sent)
	}

	u.b.ended.Add(u.key, struct{}{})
	err = errors.Join(err, u.clear(ctx))
	u.close()

	return err
}

// clear removes what an upload leaves beside its blob.
func (u *upload) clear(ctx context.Context) error {
	var errs []error

	if u.staged >= 0 {
		errs = append(errs, u.b.client.delete(ctx, u.key+stagedSuffix))
	}

	for _, key := range u.aside {
		errs = append(errs, u.b.client.delete(ctx, key))
	}

	if u.saved {
		errs = append(errs, u.b.client.delete(ctx, u.key))
	}

	return errors.Join(errs...)
}

// Close lets go of the memory. What was not saved is lost.
func (u *upload) Close() error {
	u.mu.Lock()
	defer u.mu.Unlock()

	u.close()

	return nil
}

func (u *upload) close() {
	if u.over {
		return
	}

	u.over = true

	if u.flying != nil {
		<-u.flying.done
	}

	u.dropTail()
}

// dropTail lets go of a tail that is not needed, or is elsewhere.
func (u *upload) dropTail() {
	u.tail.free()
	u.tail, u.small, u.away = nil, nil, nil
}
