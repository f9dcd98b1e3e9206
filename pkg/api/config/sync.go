package config

import "time"

// Sync copies images from other registries.
type Sync struct {
	Extension `mapstructure:",squash"`

	DownloadDir     string     `mapstructure:"downloadDir"`
	CredentialsFile string     `mapstructure:"credentialsFile"`
	Registries      []Upstream `mapstructure:"registries"`
}

// Upstream is a registry that images are copied from.
type Upstream struct {
	URLs                  []string       `mapstructure:"urls"`
	PollInterval          time.Duration  `mapstructure:"pollInterval"` // 0 = never
	OnDemand              bool           `mapstructure:"onDemand"`
	TLSVerify             bool           `mapstructure:"tlsVerify"`
	CertDir               string         `mapstructure:"certDir"`
	MaxRetries            int            `mapstructure:"maxRetries"`
	RetryDelay            *time.Duration `mapstructure:"retryDelay"`
	MaxRetryDelay         time.Duration  `mapstructure:"maxRetryDelay"`
	OnlySigned            bool           `mapstructure:"onlySigned"`
	PreserveDigest        bool           `mapstructure:"preserveDigest"`
	SyncTimeout           time.Duration  `mapstructure:"syncTimeout"`
	ManifestCheckInterval time.Duration  `mapstructure:"manifestCheckInterval"`
	ResponseHeaderTimeout time.Duration  `mapstructure:"responseHeaderTimeout"`
	ReqConcurrent         int            `mapstructure:"reqConcurrent"`
	ReqPerSec             float64        `mapstructure:"reqPerSec"`
	Content               []Content      `mapstructure:"content"`
}

// SetDefaults fills in what is where the file says nothing.
func (u *Upstream) SetDefaults() { u.TLSVerify = true }

// Content is which repositories are copied, and where to.
type Content struct {
	Prefix      string    `mapstructure:"prefix"` // glob
	Destination string    `mapstructure:"destination"`
	StripPrefix bool      `mapstructure:"stripPrefix"`
	Tags        *SyncTags `mapstructure:"tags"` // nil = all
}

// SyncTags is which tags are copied.
type SyncTags struct {
	Regex        string `mapstructure:"regex"`
	ExcludeRegex string `mapstructure:"excludeRegex"`
	Semver       bool   `mapstructure:"semver"`
}
