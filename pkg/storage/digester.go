package storage

import (
	"context"
	"encoding"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/opencontainers/go-digest"
)

// digester appends bytes to an upload and hashes them as they pass, beside the
// writing, so that no byte is read twice.
type digester struct {
	alg    digest.Algorithm
	sum    hash.Hash
	hashed int64 // bytes that sum has seen; never more than the upload has
}

func newDigester(alg digest.Algorithm) *digester {
	return &digester{alg: alg, sum: alg.Hash()}
}

// expect says which algorithm the digest has. Where nothing came yet, that saves the
// bytes to pass twice.
func (d *digester) expect(alg digest.Algorithm) {
	if d.hashed == 0 && alg != d.alg && CheckAlgorithm(alg) == nil {
		*d = *newDigester(alg)
	}
}

// add appends p to the upload.
func (d *digester) add(ctx context.Context, up Upload, p []byte) error {
	if len(p) <= smallBuffer {
		return d.addSmall(ctx, up, p)
	}

	hashing := make(chan struct{})

	go func() {
		d.sum.Write(p)
		close(hashing)
	}()

	err := up.Append(ctx, p)
	<-hashing

	d.hashed += int64(len(p))

	return err
}

// addSmall does what add does where a goroutine would cost more than it saves.
func (d *digester) addSmall(ctx context.Context, up Upload, p []byte) error {
	err := up.Append(ctx, p)
	d.sum.Write(p)
	d.hashed += int64(len(p))

	return err
}

// verify says whether the bytes of an upload have the digest.
//
// Errors: ErrDigestMismatch.
func (d *digester) verify(ctx context.Context, up Upload, buffers *Buffers, want digest.Digest) error {
	if want.Algorithm() != d.alg {
		*d = *newDigester(want.Algorithm()) // other than announced: the bytes pass twice
	}

	if err := d.catchUp(ctx, up, buffers); err != nil {
		return err
	}

	if got := digest.NewDigest(d.alg, d.sum); got != want {
		return fmt.Errorf("%w: the content is %s, not %s", ErrDigestMismatch, got, want)
	}

	return nil
}

// catchUp hashes what the upload has and sum has not seen: after a restart, or after
// an append that kept less than it was given.
func (d *digester) catchUp(ctx context.Context, up Upload, buffers *Buffers) (err error) {
	if d.hashed > up.Size() {
		*d = *newDigester(d.alg)
	}

	if d.hashed == up.Size() {
		return nil
	}

	buf := buffers.getSmall()
	defer buffers.put(buf)

	r, err := up.Reader(ctx, d.hashed)
	if err != nil {
		return fmt.Errorf("read upload: %w", err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()

	n, err := io.CopyBuffer(writerOnly{d.sum}, io.LimitReader(r, up.Size()-d.hashed), buf)
	d.hashed += n

	if err != nil {
		return fmt.Errorf("read upload: %w", err)
	}

	return nil
}

// writerOnly hides all but Write, so that io.CopyBuffer uses its buffer.
type writerOnly struct{ io.Writer }

// digesterNote is a digester as it is kept with an upload (Upload.Save).
type digesterNote struct {
	Algorithm digest.Algorithm `json:"algorithm"`
	Hashed    int64            `json:"hashed"`
	State     []byte           `json:"state"`
}

func (d *digester) note() (digesterNote, error) {
	state, err := d.sum.(encoding.BinaryMarshaler).MarshalBinary() //nolint:forcetypeassert // sha256 and sha512 do
	if err != nil {
		return digesterNote{}, fmt.Errorf("save hash state: %w", err)
	}

	return digesterNote{Algorithm: d.alg, Hashed: d.hashed, State: state}, nil
}

// digesterFrom is the inverse of note. A note that makes no sense is as good as none.
func digesterFrom(note digesterNote, size int64) *digester {
	if CheckAlgorithm(note.Algorithm) != nil {
		return newDigester(digest.Canonical)
	}

	d := newDigester(note.Algorithm)

	sum, ok := d.sum.(encoding.BinaryUnmarshaler)
	if !ok || note.Hashed < 0 || note.Hashed > size || sum.UnmarshalBinary(note.State) != nil {
		return newDigester(note.Algorithm)
	}

	d.hashed = note.Hashed

	return d
}
