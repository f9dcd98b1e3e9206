package zb

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"time"
)

// Options say what is measured, and how.
type Options struct {
	URL         string        `json:"url"`
	Auth        string        `json:"-"` // user:password; empty = none
	Concurrency int           `json:"concurrency"`
	Requests    int           `json:"requests,omitempty"`    // operations of each test; 0 = as many as the test proposes
	Duration    time.Duration `json:"duration,omitempty"`    // of each test, instead of Requests; 0 = Requests
	Rate        float64       `json:"rate,omitempty"`        // operations that arrive per second; 0 = closed loop
	Repo        string        `json:"repo"`                  // prefix of the repositories that are made
	Tests       []string      `json:"tests,omitempty"`       // names or regular expressions; none = all
	Tags        int           `json:"tags"`                  // in the repository of the tests that want many
	SourceIPs   []netip.Addr  `json:"sourceIPs,omitempty"`   // where connections come from, in turns
	Timeout     time.Duration `json:"timeout"`               // of one operation
	SkipCleanup bool          `json:"skipCleanup,omitempty"` // what was pushed stays
	WorkingDir  string        `json:"-"`                     // where the random bytes are kept; empty = in memory
	Insecure    bool          `json:"insecure,omitempty"`    // take any certificate
	CACert      string        `json:"-"`                     // file of a certificate to trust; empty = the system's
	PID         int           `json:"-"`                     // of the server; 0 = find it by its port, if it is local
	Restart     string        `json:"restart,omitempty"`     // command that restarts the server; empty = none
	Touch       bool          `json:"touch"`                 // touch memory before measuring, if the server is local
}

// check returns the URL of the registry.
func (o Options) check() (*url.URL, error) {
	base, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("the registry's URL: %w", err)
	}

	switch {
	case base.Scheme != "http" && base.Scheme != "https", base.Host == "":
		return nil, fmt.Errorf("the registry's URL is %q; want one such as http://127.0.0.1:8080", o.URL)
	case o.Concurrency < 1:
		return nil, errors.New("concurrency must be 1 or more")
	case o.Requests < 0, o.Duration < 0, o.Rate < 0, o.Tags < 1:
		return nil, errors.New("requests, duration and rate must not be negative, and tags not below 1")
	case o.Requests > 0 && o.Duration > 0:
		return nil, errors.New("a test ends after so many requests, or after so much time: not both")
	case o.Timeout <= 0:
		return nil, errors.New("timeout must be more than 0")
	}

	return base, nil
}
