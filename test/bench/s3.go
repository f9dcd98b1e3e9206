package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"

	"zotregistry.io/zot/internal/servers"
)

// bucketServer is one S3 server for all targets. Each run has a bucket of its own.
type bucketServer struct {
	*servers.S3

	dir  string
	made atomic.Int64
}

func openBucketServer(ctx context.Context) (*bucketServer, error) {
	dir, err := os.MkdirTemp("", "bench-s3")
	if err != nil {
		return nil, err
	}

	server, err := servers.OpenS3(ctx, dir, filepath.Join(dir, "log"))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}

	return &bucketServer{S3: server, dir: dir}, nil
}

func (s *bucketServer) close() error { return errors.Join(s.Kill(), os.RemoveAll(s.dir)) }

// bucket makes one that is empty.
func (s *bucketServer) bucket() (string, error) {
	name := fmt.Sprint("bench-", s.made.Add(1))

	return name, s.Bucket(context.Background(), name)
}

// zotInBucket is this registry on a bucket, without any cache: each replica may be that.
func zotInBucket(binary string, server *bucketServer) target {
	return target{name: zotName, args: func(dir, addr string) ([]string, error) {
		bucket, err := server.bucket()
		if err != nil {
			return nil, err
		}

		inner := zotTarget(zotName, binary, map[string]any{"storageDriver": map[string]any{
			"name": "s3", "region": server.Region, "bucket": bucket, "regionendpoint": server.Endpoint,
			"accesskey": server.AccessKey, "secretkey": server.SecretKey,
		}})

		return inner.args(dir, addr)
	}}
}

// distributionInBucket is distribution on a bucket. It sends the bytes of blobs itself,
// as zot does: by a redirect a client would measure the S3 server.
func distributionInBucket(binary string, server *bucketServer) target {
	return target{name: distributionName, args: func(dir, addr string) ([]string, error) {
		bucket, err := server.bucket()
		if err != nil {
			return nil, err
		}

		return servers.Distribution(binary, dir, addr, fmt.Sprintf(
			"s3: {region: %q, regionendpoint: %q, bucket: %q, accesskey: %q, secretkey: %q, forcepathstyle: true, secure: false}",
			server.Region, server.Endpoint, bucket, server.AccessKey, server.SecretKey))
	}}
}

// benchBucket compares both registries on one S3 server.
func benchBucket(ctx context.Context, o options, out io.Writer) (err error) {
	server, err := openBucketServer(ctx)
	if err != nil {
		return err
	}

	defer func() { err = errors.Join(err, server.close()) }()

	c, err := compare(ctx, o, out, "zot and distribution in a bucket", bucketAims,
		zotInBucket(o.zot, server), distributionInBucket(o.distribution, server))
	if err != nil {
		return err
	}

	return o.finish(c, out, "performance-s3")
}
