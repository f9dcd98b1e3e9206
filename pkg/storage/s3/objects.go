package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"zotregistry.io/zot/pkg/storage"
)

// Stat says what an object is. Where the place of a blob is not known it is looked for.
func (b *Bucket) Stat(ctx context.Context, key string) (storage.Info, error) {
	if err := checkKey(key); err != nil {
		return storage.Info{}, err
	}

	if blob, ok := parseBlob(key); ok && blob.place == "" {
		return b.find(ctx, blob, all)
	}

	info, err := b.client.head(ctx, physical(key))
	if err != nil {
		return storage.Info{}, err
	}

	return storage.Info{Key: key, Size: info.size, Modified: info.modified}, nil
}

// Open opens an object. A placed key is opened at once; only where nothing is there,
// because the blob was deleted and pushed again, it is looked for.
func (b *Bucket) Open(ctx context.Context, key string, rng storage.Range) (*storage.Object, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}

	blob, isBlob := parseBlob(key)
	if isBlob && blob.place == "" {
		info, err := b.find(ctx, blob, all)
		if err != nil {
			return nil, err
		}

		return b.openAt(ctx, info.Key, rng)
	}

	object, err := b.openAt(ctx, key, rng)
	if !isBlob || !isNotExist(err) {
		return object, err
	}

	place, findErr := b.moved(ctx, blob)
	if findErr != nil {
		return nil, findErr
	}

	return b.openAt(ctx, blob.at(place), rng)
}

func (b *Bucket) openAt(ctx context.Context, key string, rng storage.Range) (*storage.Object, error) {
	if rng.Offset < 0 {
		return nil, fmt.Errorf("%w: offset %d", storage.ErrRange, rng.Offset)
	}

	if rng.Length == 0 {
		return b.openNothing(ctx, key, rng)
	}

	if rng.Offset == 0 && rng.Length < 0 {
		rng = storage.Whole
	}

	body, info, err := b.client.get(ctx, physical(key), rng, "")
	if errors.Is(err, storage.ErrRange) && rng.Offset == 0 {
		return b.openNothing(ctx, key, rng) // the object is empty
	}

	if err != nil {
		return nil, err
	}

	r := &reader{ctx: ctx, client: b.client, body: body, info: info, pos: rng.Offset, end: info.size}
	if rng.Length >= 0 {
		r.end = min(r.end, rng.Offset+rng.Length)
	}

	return &storage.Object{Body: r, Size: info.size, Closer: r}, nil
}

// openNothing opens a range without bytes, for which HTTP has no words.
func (b *Bucket) openNothing(ctx context.Context, key string, rng storage.Range) (*storage.Object, error) {
	info, err := b.client.head(ctx, physical(key))
	if err != nil {
		return nil, err
	}

	if rng.Offset > 0 && rng.Offset >= info.size {
		return nil, fmt.Errorf("%w: offset %d of %d", storage.ErrRange, rng.Offset, info.size)
	}

	return &storage.Object{Body: bytes.NewReader(nil), Size: info.size, Closer: io.NopCloser(nil)}, nil
}

// List yields objects. Below the key of a blob those are what makes the repository hold
// it, in byte order of their own keys.
func (b *Bucket) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		if blob, ok := parseBlob(strings.TrimSuffix(prefix, "/")); ok && blob.place == "" && after == "" {
			b.listMembers(ctx, blob, yield)

			return
		}

		for object, err := range b.client.list(ctx, prefix, after, 0) {
			if err == nil && hidden(object.key) {
				continue
			}

			info := storage.Info{Key: object.key, Size: object.size, Modified: object.modified}
			if !yield(info, err) || err != nil {
				return
			}
		}
	}
}

// Put writes a small object; a blob without a place becomes a new object of the
// repository's own.
func (b *Bucket) Put(ctx context.Context, key string, body []byte) (string, error) {
	if err := checkKey(key); err != nil {
		return "", err
	}

	sum := ""

	if blob, ok := parseBlob(key); ok && blob.place == "" {
		key, sum = blob.at(b.newOwn(blob.repo)), sumOf(blob.digest)
	}

	_, err := b.client.put(ctx, physical(key), bytes.NewReader(body), int64(len(body)), condition{}, sum)

	return key, err
}

// Delete removes an object. Of a blob without a place it removes whatever makes the
// repository hold it; bytes that others share stay.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if err := checkKey(key); err != nil {
		return err
	}

	blob, ok := parseBlob(key)
	if ok {
		b.holdings.Remove(blob.key())
	}

	if !ok || blob.place != "" {
		return b.client.delete(ctx, physical(key))
	}

	for object, err := range b.client.list(ctx, memberPrefix(blob.digest, blob.repo), "", 0) {
		if err != nil {
			return err
		}

		if err := b.client.delete(ctx, object.key); err != nil {
			return err
		}
	}

	return nil
}

// urlValid is how long a signed URL is good for: a client begins at once, and S3 finishes
// what was begun.
const urlValid = 20 * time.Minute

// SignURL implements storage.Signer.
func (b *Bucket) SignURL(ctx context.Context, key string) (string, error) {
	blob, ok := parseBlob(key)
	if ok && blob.place == "" {
		info, err := b.find(ctx, blob, all)
		if err != nil {
			return "", err
		}

		key = info.Key
	}

	return b.client.signURL(ctx, physical(key), urlValid)
}

// reader reads an object, and goes on where an answer has broken off. It is used by one
// goroutine at a time.
type reader struct {
	ctx    context.Context //nolint:containedctx // of the request that reads
	client *client
	body   io.ReadCloser // nil = to be opened
	info   stored
	pos    int64
	end    int64
	failed int // how often in a row nothing was read
}

// maxResumed is how often reading may fail before a single byte was read.
const maxResumed = 3

// Read reads on.
func (r *reader) Read(p []byte) (int, error) {
	for r.pos < r.end {
		n, err := r.readOn(p)
		r.pos += int64(n)

		if n > 0 {
			r.failed = 0

			return n, nil
		}

		r.failed++
		if r.failed > maxResumed || r.ctx.Err() != nil || isFinal(err) {
			return 0, fmt.Errorf("read %s at %d: %w", r.info.key, r.pos, err)
		}
	}

	return 0, io.EOF
}

// isFinal says whether the object is not there any more, or is another.
func isFinal(err error) bool {
	return isNotExist(err) || errors.Is(err, errCondition) || errors.Is(err, storage.ErrRange) || errors.Is(err, errRefused)
}

// readOn reads what comes next, from a new answer if there is none. An error is told
// only if nothing came.
func (r *reader) readOn(p []byte) (int, error) {
	if r.body == nil {
		rng := storage.Range{Offset: r.pos, Length: r.end - r.pos}

		body, _, err := r.client.get(r.ctx, r.info.key, rng, r.info.etag)
		if err != nil {
			return 0, err
		}

		r.body = body
	}

	n, err := r.body.Read(p[:min(int64(len(p)), r.end-r.pos)])
	if err == nil {
		return n, nil
	}

	if errors.Is(err, io.EOF) {
		err = errBroken // r.pos is not at the end
	}

	closed := r.body.Close()
	r.body = nil

	return n, errors.Join(err, closed)
}

// Close lets go of the answer.
func (r *reader) Close() error {
	if r.body == nil {
		return nil
	}

	body := r.body
	r.body = nil

	return body.Close()
}
