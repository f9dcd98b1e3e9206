package storage

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// copyBlobs copies the blobs that manifests name.
func (c *repoCopy) copyBlobs(ctx context.Context, batch []*ManifestRecord) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(copyBlobsAtOnce)

	for _, m := range batch {
		for _, blob := range m.Blobs {
			if c.there[blob.Digest] {
				continue
			}

			c.there[blob.Digest] = true

			group.Go(func() error { return c.copyBlob(ctx, blob.Digest) })
		}
	}

	return group.Wait()
}

// copyBlob copies a blob, unless the target has it. One that nobody has ever seen, which a
// sparse store allows, is copied if it came later.
func (c *repoCopy) copyBlob(ctx context.Context, dgst digest.Digest) error {
	defer c.sending.lock(dgst)()

	size, at, known := c.st.lookup(dgst)

	if has, err := c.has(ctx, dgst, size, known); has || err != nil {
		return err
	}

	if !known {
		info, err := c.from.stat(ctx, c.src, dgst)
		if err != nil {
			return nil // the source does not have it either
		}

		size, at = info.Size, placeOf(BlobKey(c.src.name, dgst), info.Key)
	}

	if c.share(ctx, dgst) {
		c.note(func(done *Copied) { done.Shared++ })

		return nil
	}

	err := c.send(ctx, dgst, size, at)

	var unreadable *sourceError
	if errors.As(err, &unreadable) {
		c.fail(dgst, err)

		return nil
	}

	if err == nil {
		c.note(func(done *Copied) { done.Blobs++ })
	}

	return err
}

// has says whether the target has a blob, with a size if that is known. A bucket is asked for what
// its state knows: a copy may be there to bring back what was lost.
func (c *repoCopy) has(ctx context.Context, dgst digest.Digest, size int64, known bool) (bool, error) {
	info, err := c.to.stat(ctx, c.dst, dgst)
	if err != nil || known && info.Size != size {
		return false, nil //nolint:nilerr // it is sent
	}

	_, at, named := c.dst.visible.Load().lookup(dgst)
	if !c.to.remote || !named || at == "" {
		return true, nil
	}

	there, err := c.to.driver.Stat(ctx, info.Key)
	if err != nil && !isNotExist(err) {
		return false, fmt.Errorf("look for %s: %w", dgst, err)
	}

	if err == nil && there.Size == info.Size {
		return true, nil
	}

	return false, c.to.durability.mark(ctx, dgst, c.to.spotOf(c.dst.name, dgst, at)) // or nothing would be sent
}

// share has the target take a blob from another repository of its own.
func (c *repoCopy) share(ctx context.Context, dgst digest.Digest) bool {
	for _, other := range c.to.FindBlob(ctx, c.dst.name, dgst) {
		if other != c.dst.name && c.to.MountBlob(ctx, c.dst.name, dgst, other, c.opts.Who) == nil {
			return true
		}
	}

	return false
}

// sourceError is what the source cannot give.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// send pushes the bytes of a blob to the target, which verifies them.
//
// Errors: *sourceError if it is the source that has not got them.
func (c *repoCopy) send(ctx context.Context, dgst digest.Digest, size int64, at string) (err error) {
	object, err := c.from.driver.Open(ctx, placedKey(c.src.name, dgst, at), Whole)
	if err != nil {
		return &sourceError{unreadable(dgst, err)}
	}
	defer func() { err = errors.Join(err, object.Close()) }()

	if object.Size != size {
		return &sourceError{fmt.Errorf("%w: blob %s is %d bytes long, not %d", ErrDamaged, dgst, object.Size, size)}
	}

	status, err := c.to.StartUpload(ctx, c.dst.name, dgst.Algorithm())
	if err != nil {
		return err
	}

	body := &copiedBody{from: object.Body, of: c.transfer}

	_, err = c.to.FinishUpload(ctx, c.dst.name, status.ID, Chunk{Body: body, Length: size}, dgst, c.opts.Who)
	if err == nil {
		return nil
	}

	if body.err != nil || errors.Is(err, ErrDigestMismatch) || errors.Is(err, ErrSize) {
		err = &sourceError{fmt.Errorf("%w: blob %s: %w", ErrDamaged, dgst, errors.Join(err, body.err))}
	}

	cancel := c.to.CancelUpload(context.WithoutCancel(ctx), c.dst.name, status.ID)
	if errors.Is(cancel, ErrUploadUnknown) { // it is over
		cancel = nil
	}

	return errors.Join(err, cancel)
}

// unreadable says of an error that something is missing that has to be there.
func unreadable(dgst digest.Digest, err error) error {
	if isNotExist(err) {
		return fmt.Errorf("%w: %s is missing", ErrDamaged, dgst)
	}

	return fmt.Errorf("read %s: %w", dgst, err)
}

// copiedBody counts the bytes that pass, and remembers why no more came.
type copiedBody struct {
	from io.Reader
	of   *transfer
	err  error
}

func (b *copiedBody) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	if n > 0 {
		b.of.note(func(done *Copied) { done.Bytes += int64(n) })
	}

	if err != nil && err != io.EOF {
		b.err = err
	}

	return n, err
}
