package auth

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"zotregistry.io/zot/pkg/api/config"
)

// maxBack bounds a URL to which a browser goes after a login, in bytes: it is in a cookie.
const maxBack = 1024

// origins are those whose pages may do something: of ours, and of those that are allowed.
type origins struct {
	own     string   // "https://registry.example.com"
	targets []string // where browsers may be sent after a login, own among them
	guard   *http.CrossOriginProtection
}

func newOrigins(cfg config.HTTP) (origins, error) {
	own, err := originOf(cfg.ExternalURL)
	if err != nil {
		return origins{}, fmt.Errorf("http.externalUrl: %w", err)
	}

	o := origins{own: own, targets: []string{own}, guard: http.NewCrossOriginProtection()}

	for i, text := range cfg.Auth.OpenID.CallbackAllowOrigins {
		origin, err := originOf(text)
		if err != nil {
			return origins{}, fmt.Errorf("http.auth.openid.callbackAllowOrigins[%d]: %w", i, err)
		}

		o.targets = append(o.targets, origin)
	}

	// A page that may read answers with a user's cookies may send requests with them.
	trusted := []string{own}
	if cfg.AllowOrigin != "" && cfg.AllowOrigin != "*" {
		trusted = append(trusted, cfg.AllowOrigin)
	}

	for _, origin := range trusted {
		if err := o.guard.AddTrustedOrigin(origin); err != nil {
			return origins{}, fmt.Errorf("http.allowOrigin: %w", err)
		}
	}

	return o, nil
}

// originOf is the origin of a URL (RFC 6454, 6.2).
func originOf(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
		return "", fmt.Errorf("%q is no URL of a page", text)
	}

	return u.Scheme + "://" + strings.ToLower(u.Host), nil
}

// target returns the URL of a page, absolute, if browsers may be sent there. It is put
// together again, so that a browser reads nothing else in it than we do.
//
// Errors: ErrLoginInvalid.
func (o origins) target(back string) (string, error) {
	if back == "" {
		return "", nil
	}

	u, err := url.Parse(back)
	if err != nil || len(back) > maxBack || u.Opaque != "" || u.User != nil {
		return "", fmt.Errorf("%w: callback_ui is no URL of a page", ErrLoginInvalid)
	}

	origin := o.own
	if u.Scheme != "" || u.Host != "" {
		origin = u.Scheme + "://" + strings.ToLower(u.Host)
	}

	if !slices.Contains(o.targets, origin) {
		return "", fmt.Errorf("%w: callback_ui is of an origin that is not in callbackAllowOrigins", ErrLoginInvalid)
	}

	page := url.URL{Path: "/" + strings.TrimLeft(u.Path, "/"), RawQuery: u.RawQuery, Fragment: u.Fragment}

	return origin + page.String(), nil
}

// check refuses what a page of another origin would change by the cookies of a user. All
// browsers say of what origin a page is that does not only read.
//
// Errors: ErrCrossOrigin.
func (o origins) check(r *http.Request) error {
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions

	if !reads && r.Header.Get("Origin") == "" && r.Header.Get("Sec-Fetch-Site") == "" {
		return fmt.Errorf("%w: there is no Origin", ErrCrossOrigin)
	}

	if err := o.guard.Check(r); err != nil {
		return fmt.Errorf("%w: %w", ErrCrossOrigin, err)
	}

	return nil
}
