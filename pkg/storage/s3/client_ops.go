package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"

	"zotregistry.io/zot/pkg/storage"
)

// stored describes an object in the bucket.
type stored struct {
	key      string
	size     int64
	etag     string
	modified time.Time
}

func (c *client) key(key string) *string { return aws.String(c.prefix + key) }

// head says what an object is.
//
// Errors: fs.ErrNotExist.
func (c *client) head(ctx context.Context, key string) (stored, error) {
	out, err := c.api.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &c.bucket, Key: c.key(key)})
	if err != nil {
		return stored{}, failed("head", key, err)
	}

	return stored{key, aws.ToInt64(out.ContentLength), aws.ToString(out.ETag), aws.ToTime(out.LastModified)}, nil
}

// clock returns the server's time, to the second. key names an object that is there.
func (c *client) clock(ctx context.Context, key string) (time.Time, error) {
	out, err := c.api.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &c.bucket, Key: c.key(key)})
	if err != nil {
		return time.Time{}, failed("head", key, err)
	}

	now, ok := awsmiddleware.GetServerTime(out.ResultMetadata)
	if !ok {
		return time.Time{}, errors.New("the server does not say what time it is")
	}

	return now, nil
}

// get opens the bytes rng of an object; an etag that is not "" must be the object's.
// size is that of the whole object.
//
// Errors: fs.ErrNotExist, storage.ErrRange, errCondition.
func (c *client) get(ctx context.Context, key string, rng storage.Range, etag string) (io.ReadCloser, stored, error) {
	in := &s3.GetObjectInput{Bucket: &c.bucket, Key: c.key(key)}
	if rng != storage.Whole {
		in.Range = aws.String(rangeHeader(rng))
	}

	if etag != "" {
		in.IfMatch = &etag
	}

	out, err := c.api.GetObject(ctx, in)
	if err != nil {
		return nil, stored{}, failed("get", key, err)
	}

	info := stored{key, aws.ToInt64(out.ContentLength), aws.ToString(out.ETag), aws.ToTime(out.LastModified)}

	if rng != storage.Whole {
		if info.size, err = totalOf(aws.ToString(out.ContentRange)); err != nil {
			return nil, stored{}, errors.Join(failed("get", key, err), out.Body.Close())
		}
	}

	return out.Body, info, nil
}

func rangeHeader(rng storage.Range) string {
	header := "bytes=" + strconv.FormatInt(rng.Offset, 10) + "-"
	if rng.Length >= 0 {
		header += strconv.FormatInt(rng.Offset+rng.Length-1, 10)
	}

	return header
}

// totalOf reads the size of the whole from a Content-Range.
func totalOf(header string) (int64, error) {
	_, total, _ := strings.Cut(header, "/")

	size, err := strconv.ParseInt(total, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("answer has the Content-Range %q", header)
	}

	return size, nil
}

// read reads a small object whole. It is tried again if the answer breaks off.
//
// Errors: fs.ErrNotExist; errUnchanged if etag is not "" and is the object's.
func (c *client) read(ctx context.Context, key, unless string) (data []byte, info stored, err error) {
	for range 3 {
		data, info, err = c.readOnce(ctx, key, unless)
		if !errors.Is(err, errBroken) || ctx.Err() != nil {
			return data, info, err
		}
	}

	return nil, stored{}, err
}

func (c *client) readOnce(ctx context.Context, key, unless string) ([]byte, stored, error) {
	in := &s3.GetObjectInput{Bucket: &c.bucket, Key: c.key(key)}
	if unless != "" {
		in.IfNoneMatch = &unless
	}

	out, err := c.api.GetObject(ctx, in)
	if err != nil {
		return nil, stored{}, failed("get", key, err)
	}
	defer out.Body.Close()

	size := aws.ToInt64(out.ContentLength)

	var buf bytes.Buffer

	buf.Grow(int(size) + bytes.MinRead)

	if _, err := buf.ReadFrom(out.Body); err != nil {
		return nil, stored{}, fmt.Errorf("get %s: %w: %w", key, errBroken, err)
	}

	if int64(buf.Len()) != size {
		return nil, stored{}, fmt.Errorf("get %s: %w after %d of %d bytes", key, errBroken, buf.Len(), size)
	}

	return buf.Bytes(), stored{key, size, aws.ToString(out.ETag), aws.ToTime(out.LastModified)}, nil
}

// condition is what must hold for a write to happen; the zero value always does.
type condition struct {
	absent bool   // there is no such object
	match  string // there is one with this ETag
}

// put writes an object, and tries again as long as that makes sense: with a condition
// it may turn out that an earlier try had succeeded. sum is the SHA-256 of body in hex,
// if it is known: S3 then checks it, and we need not hash.
//
// Errors: errCondition.
func (c *client) put(ctx context.Context, key string, body io.ReadSeeker, size int64, cond condition, sum string) (etag string, err error) {
	return c.putWith(ctx, key, body, size, cond, signedAs(sum))
}

// putOnce writes an object, and tries once: whoever asks has to find out what became of
// it.
//
// Errors: errCondition; anything else that is not errRefused leaves open what happened.
func (c *client) putOnce(ctx context.Context, key string, body []byte, cond condition) (etag string, err error) {
	return c.putWith(ctx, key, bytes.NewReader(body), int64(len(body)), cond, func(o *s3.Options) {
		o.Retryer = aws.NopRetryer{}
	})
}

func (c *client) putWith(
	ctx context.Context, key string, body io.ReadSeeker, size int64, cond condition, opt func(*s3.Options),
) (string, error) {
	in := &s3.PutObjectInput{
		Bucket: &c.bucket, Key: c.key(key), Body: body, ContentLength: &size,
		ServerSideEncryption: types.ServerSideEncryption(c.write.encryption),
		StorageClass:         types.StorageClass(c.write.class),
		ACL:                  types.ObjectCannedACL(c.write.acl),
		SSEKMSKeyId:          maybe(c.write.keyID),
	}
	in.IfNoneMatch, in.IfMatch = c.conditions(cond)

	out, err := c.api.PutObject(ctx, in, opt)
	if err != nil {
		return "", failed("put", key, err)
	}

	return aws.ToString(out.ETag), nil
}

// conditions are the headers of a condition; none if the bucket does not know them.
func (c *client) conditions(cond condition) (noneMatch, match *string) {
	if !c.conditional {
		return nil, nil
	}

	if cond.absent {
		return aws.String("*"), nil
	}

	return nil, maybe(cond.match)
}

func maybe(s string) *string {
	if s == "" {
		return nil
	}

	return &s
}

// signedAs gives the hash of a body to the signature.
func signedAs(sum string) func(*s3.Options) {
	return s3.WithAPIOptions(func(stack *middleware.Stack) error {
		if sum == "" {
			return nil
		}

		set := middleware.FinalizeMiddlewareFunc("KnownPayloadHash", func(
			ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler,
		) (middleware.FinalizeOutput, middleware.Metadata, error) {
			return next.HandleFinalize(v4.SetPayloadHash(ctx, sum), in)
		})

		return stack.Finalize.Add(set, middleware.Before)
	})
}

// delete removes an object; one that is not there is no error.
func (c *client) delete(ctx context.Context, key string) error {
	_, err := c.api.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &c.bucket, Key: c.key(key)})
	if err != nil && !isNotExist(failed("", "", err)) {
		return failed("delete", key, err)
	}

	return nil
}

// maxList is how many objects one listing returns at most (S3 API reference).
const maxList = 1000

// list yields the objects below prefix behind after, in byte order. page is how many
// are asked for at once; 0 = as many as S3 gives.
func (c *client) list(ctx context.Context, prefix, after string, page int32) iter.Seq2[stored, error] {
	if page == 0 {
		page = maxList
	}

	return func(yield func(stored, error) bool) {
		in := &s3.ListObjectsV2Input{Bucket: &c.bucket, Prefix: c.key(prefix), MaxKeys: &page}
		if after != "" {
			in.StartAfter = c.key(after)
		}

		for more := true; more; {
			out, err := c.api.ListObjectsV2(ctx, in)
			if err != nil {
				yield(stored{}, failed("list", prefix, err))

				return
			}

			for _, object := range out.Contents {
				key := strings.TrimPrefix(aws.ToString(object.Key), c.prefix)
				info := stored{key, aws.ToInt64(object.Size), aws.ToString(object.ETag), aws.ToTime(object.LastModified)}

				if !yield(info, nil) {
					return
				}
			}

			more = aws.ToBool(out.IsTruncated) && out.NextContinuationToken != nil
			in.ContinuationToken = out.NextContinuationToken
		}
	}
}

// listDirs returns up to limit of what the keys below prefix have before the next slash,
// with it; 0 = all.
func (c *client) listDirs(ctx context.Context, prefix string, limit int) ([]string, error) {
	page := int32(maxList)
	if limit > 0 {
		page = int32(min(limit, maxList)) //nolint:gosec // a few
	}

	in := &s3.ListObjectsV2Input{Bucket: &c.bucket, Prefix: c.key(prefix), Delimiter: aws.String("/"), MaxKeys: &page}

	for dirs := []string{}; ; {
		out, err := c.api.ListObjectsV2(ctx, in)
		if err != nil {
			return nil, failed("list", prefix, err)
		}

		for _, dir := range out.CommonPrefixes {
			dirs = append(dirs, strings.TrimPrefix(aws.ToString(dir.Prefix), c.prefix))
		}

		in.ContinuationToken = out.NextContinuationToken
		if !aws.ToBool(out.IsTruncated) || in.ContinuationToken == nil || limit > 0 && len(dirs) >= limit {
			return dirs, nil
		}
	}
}

// signURL returns a URL that whoever has it can get the object from.
func (c *client) signURL(ctx context.Context, key string, valid time.Duration) (string, error) {
	signed, err := c.presign.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &c.bucket, Key: c.key(key)},
		s3.WithPresignExpires(valid))
	if err != nil {
		return "", failed("sign a URL of", key, err)
	}

	return signed.URL, nil
}

// copySource names an object as the source of a copy.
func (c *client) copySource(key string) *string {
	escaped := (&url.URL{Path: c.bucket + "/" + c.prefix + key}).EscapedPath()

	return aws.String(strings.ReplaceAll(escaped, "+", "%2B"))
}
