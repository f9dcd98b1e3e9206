package cli

import (
	"fmt"
	"net/url"
	"strings"

	"zotregistry.io/zot/pkg/api/config"
)

// Bounds of what S3 takes as a part, in bytes (S3 API reference, "Multipart upload
// limits").
const (
	minS3Part = 5 << 20
	maxS3Part = 5 << 30
)

// s3 checks the settings of a bucket. Whether it is there is found out at the start, and
// by zot doctor.
func (c *check) s3(path string, store *config.Store) {
	var s config.S3
	for _, mistake := range decodeSettings(path, store.StorageDriver, &s) {
		c.wrong(mistake.Path, mistake.Problem, mistake.Remedy)
	}

	if s.Bucket == "" {
		c.wrong(path+".bucket", "is missing", "name the bucket to keep images in")
	}

	if s.Region == "" && s.RegionEndpoint == "" {
		c.wrong(path+".region", "is missing", `name the region of the bucket, as "us-east-2"`)
	}

	if _, err := s3Endpoint(s); err != nil {
		c.wrong(path+".regionendpoint", err.Error(), `write a URL, as "https://s3.example:9000"`)
	}

	c.s3Keys(path, s)
	c.s3Parts(path, s)

	if s.KeyID != "" && !s.Encrypt {
		c.wrong(path+".keyid", "is set, but encrypt is false", "set encrypt to true, or remove keyid")
	}
}

func (c *check) s3Keys(path string, s config.S3) {
	const remedy = "write both, or none: then the environment, a profile or a role says them"

	switch {
	case s.AccessKey == "" && s.SecretKey != "":
		c.wrong(path+".accesskey", "is missing, but there is a secretkey", remedy)
	case s.AccessKey != "" && s.SecretKey == "":
		c.wrong(path+".secretkey", "is missing, but there is an accesskey", remedy)
	case s.SessionToken != "" && s.AccessKey == "":
		c.wrong(path+".sessiontoken", "is set, but there is no accesskey", remedy)
	}
}

func (c *check) s3Parts(path string, s config.S3) {
	for key, size := range map[string]int64{
		".chunksize": s.ChunkSize, ".multipartcopychunksize": s.MultipartCopyChunkSize,
		".multipartcopythresholdsize": s.MultipartCopyThresholdSize,
	} {
		if size != 0 && (size < minS3Part || size > maxS3Part) {
			c.wrong(path+key, fmt.Sprintf("is %d bytes; S3 takes parts of %d to %d", size, minS3Part, maxS3Part),
				"write a number of bytes between those, or leave it out")
		}
	}

	c.notNegative(path+".multipartcopymaxconcurrency", s.MultipartCopyMaxConcurrency)
}

// s3Endpoint is the URL of a server that is not Amazon's, "" for Amazon's.
func s3Endpoint(s config.S3) (string, error) {
	endpoint := s.RegionEndpoint
	if endpoint == "" {
		return "", nil
	}

	if !strings.Contains(endpoint, "://") {
		scheme := "https"
		if !s.Secure {
			scheme = "http"
		}

		endpoint = scheme + "://" + endpoint
	}

	parsed, err := url.Parse(endpoint)
	if err != nil || parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https" {
		return "", fmt.Errorf("%q is no address of a server", s.RegionEndpoint)
	}

	return endpoint, nil
}
