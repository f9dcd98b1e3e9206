package s3

import (
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"zotregistry.io/zot/pkg/storage"
)

// Limits of multipart uploads (S3 API reference, "Multipart upload limits").
const (
	minPart  = 5 << 20 // bytes of a part that is not the last
	maxPart  = 5 << 30
	maxParts = 10_000
)

// multipart is an upload in parts under way. Its JSON form is part of the state of an
// upload (docs/s3-format.md).
type multipart struct {
	Key   string `json:"key"`
	ID    string `json:"id"`
	Parts []part `json:"parts,omitempty"` // in order, without gaps
}

type part struct {
	ETag string `json:"etag"`
	Size int64  `json:"size"`
}

func (m *multipart) size() int64 {
	size := int64(0)
	for _, part := range m.Parts {
		size += part.Size
	}

	return size
}

// begin starts a multipart upload.
func (c *client) begin(ctx context.Context, key string) (*multipart, error) {
	out, err := c.api.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &c.bucket, Key: c.key(key),
		ServerSideEncryption: types.ServerSideEncryption(c.write.encryption),
		StorageClass:         types.StorageClass(c.write.class),
		ACL:                  types.ObjectCannedACL(c.write.acl),
		SSEKMSKeyId:          maybe(c.write.keyID),
	})
	if err != nil {
		return nil, failed("begin", key, err)
	}

	return &multipart{Key: key, ID: aws.ToString(out.UploadId)}, nil
}

// sendPart sends part n (0, 1, 2, ...), and does not change m.
func (c *client) sendPart(ctx context.Context, m *multipart, n int, body io.ReadSeeker, size int64) (part, error) {
	out, err := c.api.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: &c.bucket, Key: c.key(m.Key), UploadId: &m.ID, PartNumber: aws.Int32(int32(n + 1)), //nolint:gosec // below maxParts
		Body: body, ContentLength: &size,
	})
	if err != nil {
		return part{}, failed("send a part of", m.Key, err)
	}

	return part{aws.ToString(out.ETag), size}, nil
}

// complete makes the object of the parts. With absent it fails if there is one.
//
// Errors: errCondition; fs.ErrNotExist if there is no such upload, perhaps because an
// earlier try has completed it.
func (c *client) complete(ctx context.Context, m *multipart, cond condition) error {
	parts := make([]types.CompletedPart, len(m.Parts))
	for i := range m.Parts {
		parts[i] = types.CompletedPart{ETag: &m.Parts[i].ETag, PartNumber: aws.Int32(int32(i + 1))} //nolint:gosec // as above
	}

	in := &s3.CompleteMultipartUploadInput{
		Bucket: &c.bucket, Key: c.key(m.Key), UploadId: &m.ID,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	}
	in.IfNoneMatch, in.IfMatch = c.conditions(cond)

	if _, err := c.api.CompleteMultipartUpload(ctx, in); err != nil {
		return failed("complete", m.Key, err)
	}

	return nil
}

// abort drops the parts. An upload that is over is no error.
func (c *client) abort(ctx context.Context, m *multipart) error {
	_, err := c.api.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
		Bucket: &c.bucket, Key: c.key(m.Key), UploadId: &m.ID,
	})
	if err != nil && !isNotExist(failed("", "", err)) {
		return failed("abort", m.Key, err)
	}

	return nil
}

// unfinished yields the multipart uploads that were neither completed nor aborted, and
// when they were begun.
func (c *client) unfinished(ctx context.Context) iter.Seq2[begun, error] {
	return func(yield func(begun, error) bool) {
		in := &s3.ListMultipartUploadsInput{Bucket: &c.bucket, Prefix: &c.prefix}

		for more := true; more; {
			out, err := c.api.ListMultipartUploads(ctx, in)
			if err != nil {
				yield(begun{}, failed("list the unfinished parts of", c.prefix, err))

				return
			}

			for _, one := range out.Uploads {
				key := strings.TrimPrefix(aws.ToString(one.Key), c.prefix)
				if !yield(begun{multipart{Key: key, ID: aws.ToString(one.UploadId)}, aws.ToTime(one.Initiated)}, nil) {
					return
				}
			}

			more = aws.ToBool(out.IsTruncated) && len(out.Uploads) > 0
			in.KeyMarker, in.UploadIdMarker = out.NextKeyMarker, out.NextUploadIdMarker
		}
	}
}

// begun is a multipart upload, and when it was begun.
type begun struct {
	multipart
	at time.Time
}

// copySettings say how a large object is copied.
type copySettings struct {
	above, part int64
	atOnce      int
}

// copy makes dst the same bytes as src, which has size bytes, inside the server.
//
// Errors: fs.ErrNotExist.
func (c *client) copy(ctx context.Context, src, dst string, size int64, how copySettings) error {
	if size > how.above {
		return c.copyParts(ctx, src, dst, size, how)
	}

	_, err := c.api.CopyObject(ctx, &s3.CopyObjectInput{
		Bucket: &c.bucket, Key: c.key(dst), CopySource: c.copySource(src),
		ServerSideEncryption: types.ServerSideEncryption(c.write.encryption),
		StorageClass:         types.StorageClass(c.write.class),
		ACL:                  types.ObjectCannedACL(c.write.acl),
		SSEKMSKeyId:          maybe(c.write.keyID),
	})
	if err != nil {
		return failed("copy "+src+" to", dst, err)
	}

	return nil
}

func (c *client) copyParts(ctx context.Context, src, dst string, size int64, how copySettings) error {
	m, err := c.begin(ctx, dst)
	if err != nil {
		return err
	}

	step := max(how.part, (size+maxParts-1)/maxParts)
	m.Parts = make([]part, (size+step-1)/step)

	group, within := errgroup.WithContext(ctx)
	group.SetLimit(how.atOnce)

	for n := range m.Parts {
		group.Go(func() (err error) {
			from := int64(n) * step
			m.Parts[n], err = c.copyPart(within, m, n, src, from, min(step, size-from))

			return err
		})
	}

	err = group.Wait()
	if err == nil {
		err = c.complete(ctx, m, condition{})
	}

	if err != nil {
		return errors.Join(err, c.abort(context.WithoutCancel(ctx), m))
	}

	return nil
}

// copyPart makes part n of m the length bytes of src at from.
func (c *client) copyPart(ctx context.Context, m *multipart, n int, src string, from, length int64) (part, error) {
	out, err := c.api.UploadPartCopy(ctx, &s3.UploadPartCopyInput{
		Bucket: &c.bucket, Key: c.key(m.Key), UploadId: &m.ID, PartNumber: aws.Int32(int32(n + 1)), //nolint:gosec // as above
		CopySource: c.copySource(src), CopySourceRange: aws.String(rangeHeader(storage.Range{Offset: from, Length: length})),
	})
	if err != nil {
		return part{}, failed("copy a part of "+src+" to", m.Key, err)
	}

	return part{aws.ToString(out.CopyPartResult.ETag), length}, nil
}
