//go:build remote

package s3_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"zotregistry.io/zot/internal/faultproxy"
	"zotregistry.io/zot/internal/servers"
	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/s3"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a server with a bucket, in which each test has a prefix of its own, and a
// proxy in front of it.
type bench struct {
	server *servers.S3
	proxy  *faultproxy.Proxy
	opened atomic.Int64
}

const bucketName = "zot"

func newBench(t *testing.T) *bench {
	t.Helper()

	server := servers.StartS3(t)
	if err := server.Bucket(t.Context(), bucketName); err != nil {
		t.Fatal(err)
	}

	return &bench{server: server, proxy: faultproxy.Start(t, server.Endpoint)}
}

// options are those of a prefix that nobody else uses.
func (b *bench) options() s3.Options {
	return s3.Options{
		Bucket: bucketName, Prefix: fmt.Sprint("test-", b.opened.Add(1)), Region: b.server.Region,
		Endpoint: b.server.Endpoint, AccessKey: b.server.AccessKey, SecretKey: b.server.SecretKey,
		PathStyle: true, Dedupe: true, Log: zerolog.Nop(),
	}
}

// proxied are options of whose requests the proxy knows. What fails is tried again soon.
func (b *bench) proxied() s3.Options {
	opts := b.options()
	opts.Endpoint = b.proxy.URL
	opts.MaxBackoff = 2 * time.Millisecond
	opts.PartSize = 5 << 20 // the least

	return opts
}

// putObject puts an object behind the driver's back.
func (b *bench) putObject(t *testing.T, key, body string) {
	t.Helper()

	_, err := b.server.Client().PutObject(t.Context(), &awss3.PutObjectInput{
		Bucket: aws.String(bucketName), Key: &key, Body: strings.NewReader(body),
	})
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, opts s3.Options) *s3.Bucket {
	t.Helper()

	bucket, err := s3.Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}

	return bucket
}

// mustOpen opens a bucket of which is known what it can do.
func mustOpen(t *testing.T, opts s3.Options) *s3.Bucket {
	t.Helper()

	bucket, err := s3.OpenUnprobed(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}

	return bucket
}

func TestDriver(t *testing.T) {
	b := newBench(t)

	storagetest.TestDriver(t, func(t *testing.T) storage.Driver { return open(t, b.options()) })
}

func TestReopen(t *testing.T) {
	b := newBench(t)

	storagetest.TestDriverReopen(t, func(t *testing.T) (storage.Driver, func() storage.Driver) {
		opts := b.options()

		return open(t, opts), func() storage.Driver { return open(t, opts) }
	})
}

func TestReplicas(t *testing.T) {
	b := newBench(t)

	storagetest.TestReplicas(t, func(t *testing.T) (x, y storage.Driver) {
		opts := b.options()

		return open(t, opts), open(t, opts)
	})
}

func TestStore(t *testing.T) {
	b := newBench(t)

	for name, dedupe := range map[string]bool{"dedupe": true, "no dedupe": false} {
		t.Run(name, func(t *testing.T) {
			storagetest.TestStore(t, func(t *testing.T) (storage.Driver, storage.Cache) {
				opts := b.options()
				opts.Dedupe = dedupe

				return open(t, opts), storagetest.NewMapCache()
			})
		})
	}
}

func TestRecovery(t *testing.T) {
	b := newBench(t)

	storagetest.TestRecovery(t, func(t *testing.T) (storage.Driver, func() storage.Driver) {
		opts := b.options()
		opts.Dedupe = true

		again := func() storage.Driver { return mustOpen(t, opts) }

		return again(), again
	})
}

// TestCopy: a bucket is backed up to a directory, and restored from one.
func TestCopy(t *testing.T) {
	b := newBench(t)

	for name, dedupe := range map[string]bool{"dedupe": true, "no dedupe": false} {
		t.Run(name, func(t *testing.T) {
			storagetest.TestCopy(t, func(t *testing.T) (storage.Driver, storage.Cache) {
				opts := b.options()
				opts.Dedupe = dedupe

				return open(t, opts), storagetest.NewMapCache()
			}, func(t *testing.T) (storage.Driver, storage.Cache) {
				return storagetest.NewMemory().Driver(), storagetest.NewMapCache()
			})
		})
	}
}
