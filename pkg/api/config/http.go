package config

import "time"

// HTTP is how clients reach zot.
type HTTP struct {
	Address     string `mapstructure:"address"`
	Port        string `mapstructure:"port"` // "0" = a free one
	ExternalURL string `mapstructure:"externalUrl"`
	AllowOrigin string `mapstructure:"allowOrigin"` // for browsers; "" = none
	Realm       string `mapstructure:"realm"`

	// ReadTimeout and WriteTimeout bound how long a client may stall, not how long
	// a request takes. 0 = no bound.
	ReadTimeout  time.Duration `mapstructure:"readTimeout"`
	WriteTimeout time.Duration `mapstructure:"writeTimeout"`

	TLS           *TLS           `mapstructure:"tls"` // nil = plain HTTP
	Auth          Auth           `mapstructure:"auth"`
	AccessControl *AccessControl `mapstructure:"accessControl"` // nil = everyone may do everything
	RateLimit     *RateLimit     `mapstructure:"ratelimit"`     // nil = no limit
	Compat        []string       `mapstructure:"compat"`        // docker2s2, which is always on
}

// TLS is paths of PEM files.
type TLS struct {
	Cert   string `mapstructure:"cert"`
	Key    string `mapstructure:"key"`
	CACert string `mapstructure:"cacert"` // signs client certificates; "" = none are asked for
}

// RateLimit bounds requests per second, 0 = no bound.
type RateLimit struct {
	Rate    int          `mapstructure:"rate"`
	Methods []MethodRate `mapstructure:"methods"`

	PerClient *ClientRate `mapstructure:"perClient"` // nil = no bound
}

// ClientRate bounds the requests per second, 0 = no bound, and the uploads of each user, and of
// each address without one.
type ClientRate struct {
	Rate  int `mapstructure:"rate"`
	Burst int `mapstructure:"burst"` // at once; 0 = as Rate

	Uploads int `mapstructure:"uploads"` // in progress; 0 = no bound
}

// MethodRate bounds the requests per second of an HTTP method.
type MethodRate struct {
	Method string `mapstructure:"method"`
	Rate   int    `mapstructure:"rate"`
}

// DefaultStall is how long a client may stall before it is dropped.
const DefaultStall = 30 * time.Second

// SetDefaults fills in what is where the file says nothing.
func (h *HTTP) SetDefaults() {
	h.Address = "127.0.0.1"
	h.Port = "8080"
	h.ReadTimeout = DefaultStall
	h.WriteTimeout = DefaultStall
}
