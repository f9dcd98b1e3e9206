//go:build remote

package faultproxy

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	. "github.com/smartystreets/goconvey/convey"

	"zotregistry.io/zot/internal/servers"
)

// The bucket of the tests.
var images = aws.String("images")

// through returns a client that goes through a proxy, and a new bucket.
func through(t *testing.T) (*Proxy, *s3.Client) {
	t.Helper()

	server := servers.StartS3(t)
	So(server.Bucket(t.Context(), *images), ShouldBeNil)

	p := Start(t, server.Endpoint)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(transport.CloseIdleConnections)

	return p, server.Client(func(o *s3.Options) {
		o.BaseEndpoint = &p.URL
		o.HTTPClient = &http.Client{Transport: transport}
	})
}

func put(t *testing.T, c *s3.Client, key, body string, change func(*s3.PutObjectInput)) error {
	t.Helper()

	in := &s3.PutObjectInput{Bucket: images, Key: &key, Body: bytes.NewReader([]byte(body))}
	change(in)

	_, err := c.PutObject(t.Context(), in)

	return err
}

func always(*s3.PutObjectInput) {}

func ifNew(in *s3.PutObjectInput) { in.IfNoneMatch = aws.String("*") }

func get(t *testing.T, c *s3.Client, key string) (string, error) {
	t.Helper()

	out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: images, Key: &key})
	if err != nil {
		return "", err
	}
	defer out.Body.Close()

	body, err := io.ReadAll(out.Body)

	return string(body), err
}

// code returns the code of an answer that is an error.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}

	return ""
}

func TestRemote(t *testing.T) {
	Convey("Between Amazon's client and a server, signatures stay valid", t, func() {
		p, c := through(t)

		Convey("whatever a key is made of", func() {
			for i, key := range []string{"a/b", "sp ace", "pl+us", "per%cent%41", "ü😀", "a:b@c=d&e?f#g", "*'()!~;,", `back\slash`, "<\">"} {
				So(put(t, c, key, key, always), ShouldBeNil)
				So(p.Log()[2*i].Key, ShouldEqual, key)

				body, err := get(t, c, key)
				So(err, ShouldBeNil)
				So(body, ShouldEqual, key)
			}
		})

		Convey("and the operations have their names", func() {
			every(t, c)

			for name, n := range map[Operation]int{
				HeadBucket: 1, PutObject: 1, HeadObject: 1, GetObject: 1, CopyObject: 1, ListObjectsV2: 1, ListObjects: 1,
				DeleteObject: 1, DeleteObjects: 1, CreateMultipartUpload: 2, UploadPart: 1, UploadPartCopy: 1, ListParts: 1,
				ListMultipartUploads: 1, CompleteMultipartUpload: 1, AbortMultipartUpload: 1,
			} {
				So([]any{name, p.Counts()[name]}, ShouldResemble, []any{name, n})
			}

			So(p.Counts(), ShouldHaveLength, 16)
		})

		Convey("and a presigned URL of the proxy's holds", func() {
			So(put(t, c, "k", "0123456789", always), ShouldBeNil)

			signed, err := s3.NewPresignClient(c).PresignGetObject(t.Context(),
				&s3.GetObjectInput{Bucket: images, Key: aws.String("k")})
			So(err, ShouldBeNil)

			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, signed.URL, http.NoBody)
			So(err, ShouldBeNil)
			req.Header.Set("Range", "bytes=2-4")

			res, err := http.DefaultClient.Do(req)
			So(err, ShouldBeNil)
			defer res.Body.Close()

			body, err := io.ReadAll(res.Body)
			So(err, ShouldBeNil)
			So(res.StatusCode, ShouldEqual, http.StatusPartialContent)
			So(string(body), ShouldEqual, "234")
			So(p.Log()[1].Range, ShouldEqual, "bytes=2-4")
		})
	})
}

// every asks once for each operation, or twice where it takes two to do another.
func every(t *testing.T, c *s3.Client) {
	t.Helper()

	ctx, key, source := t.Context(), aws.String("k"), aws.String("images/k")

	_, err := c.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: images})
	So(err, ShouldBeNil)
	So(put(t, c, "k", "body", always), ShouldBeNil)
	_, err = c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: images, Key: key})
	So(err, ShouldBeNil)
	_, err = get(t, c, "k")
	So(err, ShouldBeNil)
	_, err = c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: images, Key: aws.String("copy"), CopySource: source})
	So(err, ShouldBeNil)
	_, err = c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: images, Prefix: aws.String("")})
	So(err, ShouldBeNil)
	_, err = c.ListObjects(ctx, &s3.ListObjectsInput{Bucket: images})
	So(err, ShouldBeNil)

	up, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: images, Key: aws.String("big")})
	So(err, ShouldBeNil)
	_, err = c.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: images, Key: aws.String("big"), UploadId: up.UploadId, PartNumber: aws.Int32(1),
		Body: bytes.NewReader(make([]byte, 5<<20)),
	})
	So(err, ShouldBeNil)
	_, err = c.UploadPartCopy(ctx, &s3.UploadPartCopyInput{
		Bucket: images, Key: aws.String("big"), UploadId: up.UploadId, PartNumber: aws.Int32(2), CopySource: source,
	})
	So(err, ShouldBeNil)
	parts, err := c.ListParts(ctx, &s3.ListPartsInput{Bucket: images, Key: aws.String("big"), UploadId: up.UploadId})
	So(err, ShouldBeNil)

	var done []types.CompletedPart
	for _, part := range parts.Parts {
		done = append(done, types.CompletedPart{PartNumber: part.PartNumber, ETag: part.ETag})
	}

	_, err = c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: images, Key: aws.String("big"), UploadId: up.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: done},
	})
	So(err, ShouldBeNil)

	up, err = c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: images, Key: key})
	So(err, ShouldBeNil)
	_, err = c.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: images})
	So(err, ShouldBeNil)
	_, err = c.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: images, Key: key, UploadId: up.UploadId})
	So(err, ShouldBeNil)

	_, err = c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: images, Key: key})
	So(err, ShouldBeNil)
	_, err = c.DeleteObjects(ctx, &s3.DeleteObjectsInput{
		Bucket: images, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: aws.String("copy")}}},
	})
	So(err, ShouldBeNil)
}

func TestRemoteFaults(t *testing.T) {
	Convey("To Amazon's client", t, func() {
		p, c := through(t)

		Convey("errors of the proxy are S3's", func() {
			for _, kind := range []Kind{SlowDown, InternalError, Conflict} {
				p.Inject(Rule{Kind: kind, Times: 1})
			}

			So(code(put(t, c, "k", "body", always)), ShouldEqual, "SlowDown")
			So(code(put(t, c, "k", "body", always)), ShouldEqual, "InternalError")
			So(code(put(t, c, "k", "body", always)), ShouldEqual, "ConditionalRequestConflict")
			So(put(t, c, "k", "body", always), ShouldBeNil)
		})

		Convey("an error in the body of a 200 is an error", func() {
			So(put(t, c, "k", "body", always), ShouldBeNil)
			p.Inject(Rule{Match: On(CopyObject), Kind: ErrorBody, After: true})

			_, err := c.CopyObject(t.Context(), &s3.CopyObjectInput{
				Bucket: images, Key: aws.String("copy"), CopySource: aws.String("images/k"),
			})
			So(code(err), ShouldEqual, "InternalError")

			body, err := get(t, c, "copy")
			So(err, ShouldBeNil)
			So(body, ShouldEqual, "body")
		})

		Convey("a write whose answer is lost looks failed, and is there", func() {
			p.Inject(Rule{Match: On(PutObject), Kind: ConnReset, After: true, Times: 1})
			So(put(t, c, "k", "mine", ifNew), ShouldNotBeNil)

			// So a client that tries again must not take this for another's write.
			So(code(put(t, c, "k", "mine", ifNew)), ShouldEqual, "PreconditionFailed")
			So(p.Log()[0].IfNoneMatch, ShouldEqual, "*")
			So(p.Log()[0].Server, ShouldEqual, 200)
		})

		Convey("a body that is cut is an error while it is read", func() {
			So(put(t, c, "k", "0123456789", always), ShouldBeNil)
			p.Inject(Rule{Match: On(GetObject), Kind: Truncate, Times: 1})

			body, err := get(t, c, "k")
			So(body, ShouldEqual, "01234")
			So(err, ShouldNotBeNil)
		})

		Convey("a late duplicate undoes a later write, but not if it has a condition", func() {
			plain := p.Inject(Rule{Match: On(PutObject), Kind: Duplicate, Times: 1})
			So(put(t, c, "plain", "old", always), ShouldBeNil)

			conditional := p.Inject(Rule{Match: On(PutObject), Kind: Late, Times: 1})
			So(put(t, c, "conditional", "old", ifNew), ShouldNotBeNil)

			So(put(t, c, "plain", "new", always), ShouldBeNil)
			So(put(t, c, "conditional", "new", ifNew), ShouldBeNil)

			for _, f := range []*Fault{plain, conditional} {
				f.Release()
				So(f.Settle(t.Context()), ShouldBeNil)
			}

			body, err := get(t, c, "plain")
			So(err, ShouldBeNil)
			So(body, ShouldEqual, "old")

			body, err = get(t, c, "conditional")
			So(err, ShouldBeNil)
			So(body, ShouldEqual, "new")
			So(p.Log()[1].Server, ShouldEqual, http.StatusPreconditionFailed)
		})
	})
}

// BenchmarkGet says what the proxy costs: compare direct with through.
func BenchmarkGet(b *testing.B) {
	server := servers.StartS3(b)
	p := Start(b, server.Endpoint)

	if err := server.Bucket(b.Context(), *images); err != nil {
		b.Fatal(err)
	}

	for _, size := range []int{1 << 10, 16 << 20} {
		key := strconv.Itoa(size)

		_, err := server.Client().PutObject(b.Context(), &s3.PutObjectInput{
			Bucket: images, Key: &key, Body: bytes.NewReader(make([]byte, size)),
		})
		if err != nil {
			b.Fatal(err)
		}

		for name, url := range map[string]string{"direct": server.Endpoint, "through": p.URL} {
			c := server.Client(func(o *s3.Options) { o.BaseEndpoint = &url })

			b.Run(name+"/"+key, func(b *testing.B) {
				b.SetBytes(int64(size))

				for b.Loop() {
					out, err := c.GetObject(b.Context(), &s3.GetObjectInput{Bucket: images, Key: &key})
					if err != nil {
						b.Fatal(err)
					}

					if _, err := io.Copy(io.Discard, out.Body); err != nil {
						b.Fatal(err)
					}

					out.Body.Close()
				}
			})
		}
	}
}
