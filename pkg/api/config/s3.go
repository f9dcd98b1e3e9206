package config

// S3 is what storageDriver says of a bucket, by the names of upstream zot.
type S3 struct {
	Name           string `mapstructure:"name"`
	RootDirectory  string `mapstructure:"rootdirectory"` // prefix of all keys; "" = the whole bucket
	Region         string `mapstructure:"region"`
	RegionEndpoint string `mapstructure:"regionendpoint"` // URL, or host and port; "" = Amazon's
	Bucket         string `mapstructure:"bucket"`
	AccessKey      string `mapstructure:"accesskey"` // "" = the AWS SDK's own chain
	SecretKey      string `mapstructure:"secretkey"`
	SessionToken   string `mapstructure:"sessiontoken"`
	ForcePathStyle *bool  `mapstructure:"forcepathstyle"` // nil = true where RegionEndpoint is set
	Secure         bool   `mapstructure:"secure"`         // TLS, where RegionEndpoint has no scheme
	SkipVerify     bool   `mapstructure:"skipverify"`
	Encrypt        bool   `mapstructure:"encrypt"`
	KeyID          string `mapstructure:"keyid"` // of the KMS that Encrypt uses; "" = S3's own key
	StorageClass   string `mapstructure:"storageclass"`
	UserAgent      string `mapstructure:"useragent"`
	ObjectACL      string `mapstructure:"objectacl"`

	// Bytes of a part of an upload whose length is not known, of a part of a copy, and
	// above which a copy is made in parts; 0 = decided by pkg/storage/s3.
	ChunkSize                   int64 `mapstructure:"chunksize"`
	MultipartCopyChunkSize      int64 `mapstructure:"multipartcopychunksize"`
	MultipartCopyThresholdSize  int64 `mapstructure:"multipartcopythresholdsize"`
	MultipartCopyMaxConcurrency int   `mapstructure:"multipartcopymaxconcurrency"`
}

// SetDefaults fills in what a bucket is where the file says nothing.
func (s *S3) SetDefaults() { s.Secure = true }
