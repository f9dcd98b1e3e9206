//go:build remote

package servers

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	. "github.com/smartystreets/goconvey/convey"
)

func TestS3(t *testing.T) {
	Convey("An S3 server", t, func() {
		s := StartS3(t)
		So(s.Bucket(t.Context(), "images"), ShouldBeNil)
		So(put(t, s.Client(), "a", "one"), ShouldBeNil)

		Convey("keeps objects over restarts, on the same address", func() {
			So(s.Restart(t.Context()), ShouldBeNil)
			So(get(t, s.Client(), "a"), ShouldEqual, "one")
		})

		Convey("refuses connections once it was killed", func() {
			So(s.Kill(), ShouldBeNil)
			So(put(t, s.Client(), "b", "two"), ShouldNotBeNil)

			So(s.Restart(t.Context()), ShouldBeNil)
			So(put(t, s.Client(), "b", "two"), ShouldBeNil)
		})

		Convey("does not answer while it is paused", func() {
			So(s.Pause(), ShouldBeNil)

			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()

			_, err := s.Client().HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String("images"), Key: aws.String("a")})
			So(errors.Is(err, context.DeadlineExceeded), ShouldBeTrue)

			So(s.Resume(), ShouldBeNil)
			So(get(t, s.Client(), "a"), ShouldEqual, "one")
		})

		Convey("stops when it is asked to, paused or not", func() {
			So(s.Pause(), ShouldBeNil)
			So(s.Stop(), ShouldBeNil)
			So(s.Resume(), ShouldBeNil)
		})
	})
}

func TestS3Account(t *testing.T) {
	Convey("A second account of an S3 server", t, func() {
		s := StartS3(t)
		So(s.Bucket(t.Context(), "images"), ShouldBeNil)
		So(put(t, s.Client(), "a", "one"), ShouldBeNil)
		So(s.Account(t.Context(), "guest", "guest-secret"), ShouldBeNil)

		guest := s.Client(func(o *s3.Options) {
			o.Credentials = credentials.NewStaticCredentialsProvider("guest", "guest-secret", "")
		})

		Convey("may do nothing at first", func() {
			So(code(put(t, guest, "a", "two")), ShouldEqual, "AccessDenied")
		})

		Convey("may do what a policy says", func() {
			_, err := s.Client().PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{
				Bucket: aws.String("images"), Policy: aws.String(`{"Statement": [{"Effect": "Allow",
					"Principal": ["guest"], "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::images/*"]}]}`),
			})
			So(err, ShouldBeNil)

			So(get(t, guest, "a"), ShouldEqual, "one")
			So(code(put(t, guest, "a", "two")), ShouldEqual, "AccessDenied")
		})

		Convey("is made once", func() {
			So(s.Account(t.Context(), "guest", "guest-secret"), ShouldNotBeNil)
		})
	})
}

// TestS3Conditions holds the server to what drivers build on, and what a gateway that
// looks first and writes then would not do.
func TestS3Conditions(t *testing.T) {
	Convey("Of 16 conditional writes at once one is done", t, func() {
		s := StartS3(t)
		So(s.Bucket(t.Context(), "images"), ShouldBeNil)

		transport := &http.Transport{MaxIdleConnsPerHost: 16}
		t.Cleanup(transport.CloseIdleConnections)
		c := s.Client(func(o *s3.Options) { o.HTTPClient = &http.Client{Transport: transport} })

		for i := range 20 {
			key := fmt.Sprintf("dir/%d", i)

			etags := race(t, c, key, func(in *s3.PutObjectInput) { in.IfNoneMatch = aws.String("*") })
			So(etags, ShouldHaveLength, 1)

			etags = race(t, c, key, func(in *s3.PutObjectInput) { in.IfMatch = &etags[0] })
			So(etags, ShouldHaveLength, 1)
		}
	})
}

// race writes 16 bodies at once and returns the entity tags of those that were taken.
func race(t *testing.T, c *s3.Client, key string, condition func(*s3.PutObjectInput)) []string {
	t.Helper()

	type answer struct {
		out *s3.PutObjectOutput
		err error
	}

	answers := make(chan answer, 16)

	for range cap(answers) {
		in := &s3.PutObjectInput{Bucket: aws.String("images"), Key: &key, Body: strings.NewReader(rand.Text())}
		condition(in)

		go func() {
			out, err := c.PutObject(t.Context(), in)
			answers <- answer{out, err}
		}()
	}

	var etags []string

	for range cap(answers) {
		if a := <-answers; a.err == nil {
			etags = append(etags, *a.out.ETag)
		} else {
			So(code(a.err), ShouldEqual, "PreconditionFailed")
		}
	}

	return etags
}

func TestS3WithoutProgram(t *testing.T) {
	Convey("Where the program is missing, the error names the make target", t, func() {
		t.Setenv(ToolsEnv, t.TempDir())

		_, err := OpenS3(t.Context(), t.TempDir(), t.TempDir()+"/log")
		So(err.Error(), ShouldContainSubstring, "make remote-tools")

		t.Setenv(ToolsEnv, "")

		_, err = OpenS3(t.Context(), t.TempDir(), t.TempDir()+"/log")
		So(err.Error(), ShouldContainSubstring, "make remote")
	})
}

func put(t *testing.T, c *s3.Client, key, body string) error {
	t.Helper()

	_, err := c.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: aws.String("images"), Key: &key, Body: bytes.NewReader([]byte(body)),
	})

	return err
}

func get(t *testing.T, c *s3.Client, key string) string {
	t.Helper()

	out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("images"), Key: &key})
	So(err, ShouldBeNil)

	body, err := io.ReadAll(out.Body)
	So(err, ShouldBeNil)
	So(out.Body.Close(), ShouldBeNil)

	return string(body)
}

// code returns the code of an answer that is an error.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}

	return ""
}
