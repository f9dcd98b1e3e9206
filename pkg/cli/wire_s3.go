package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/s3"
)

// s3Options are what the configuration says of a bucket.
func s3Options(cfg config.Store, log zerolog.Logger) (s3.Options, error) {
	var s config.S3
	if mistakes := decodeSettings("", cfg.StorageDriver, &s); len(mistakes) > 0 {
		return s3.Options{}, fmt.Errorf("%s: %s", mistakes[0].Path, mistakes[0].Problem)
	}

	endpoint, err := s3Endpoint(s)
	if err != nil {
		return s3.Options{}, err
	}

	return s3.Options{
		Bucket: s.Bucket, Prefix: s.RootDirectory, Region: s.Region, Endpoint: endpoint,
		AccessKey: s.AccessKey, SecretKey: s.SecretKey, SessionToken: s.SessionToken,
		PathStyle:  s.ForcePathStyle != nil && *s.ForcePathStyle || s.ForcePathStyle == nil && endpoint != "",
		SkipVerify: s.SkipVerify, Encryption: encryptionOf(s), KeyID: s.KeyID,
		StorageClass: s.StorageClass, ACL: s.ObjectACL, UserAgent: s.UserAgent,
		PartSize: s.ChunkSize, CopyPart: s.MultipartCopyChunkSize, CopyAbove: s.MultipartCopyThresholdSize,
		CopyAtOnce: s.MultipartCopyMaxConcurrency, Dedupe: cfg.Dedupe, SingleWriter: cfg.SingleWriter,
		Log: log,
	}, nil
}

func encryptionOf(s config.S3) string {
	switch {
	case s.KeyID != "":
		return "aws:kms"
	case s.Encrypt:
		return "AES256"
	}

	return ""
}

// openBucket opens the image store in a bucket.
func openBucket(
	ctx context.Context, cfg config.Store, memory *buffers, mode storeMode, log zerolog.Logger,
) (*storage.Store, error) {
	log = log.With().Str("bucket", cfg.StorageDriver.String("bucket")).Logger()

	opts, err := s3Options(cfg, log)
	if err != nil {
		return nil, err
	}

	opts.Parts = memory.parts

	bucket, err := s3.Open(ctx, opts)
	if err != nil {
		return nil, err
	}

	if cachesInFile(cfg) {
		if err := os.MkdirAll(cfg.RootDirectory, 0o700); err != nil {
			return nil, errors.Join(err, bucket.Close())
		}
	}

	known, err := openCache(cfg, bucket.ID(), log)
	if err != nil {
		return nil, errors.Join(err, bucket.Close())
	}

	store, err := s3.NewStore(ctx, bucket, known, storage.Options{
		Log: log, Sparse: cfg.Sparse, Redirect: cfg.RedirectBlobURL, Buffers: memory.bucket,
		GC: gcOf(cfg), Passive: mode.passive, Scrub: mode.scrub, Quotas: quotasOf(cfg),
	})
	if err != nil {
		return nil, errors.Join(err, known.Close(), bucket.Close())
	}

	return store, nil
}
