package wire

import (
	"net/http"
	"net/url"
)

// NewAt returns a client for the registry at base, of which scheme and host count. Its requests
// go through transport, which the caller closes.
func NewAt(base *url.URL, transport http.RoundTripper) *Client {
	return &Client{
		base: &url.URL{Scheme: base.Scheme, Host: base.Host},
		http: &http.Client{Transport: transport},
	}
}
