package auth

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"zotregistry.io/zot/pkg/api/config"
)

// mtls is the way of client certificates. It takes the user's name from them. crypto/tls has
// verified who signed them, but a connection may be older than what http.tls.cacert says now.
type mtls struct {
	realm       string
	attributes  []attribute
	authorities *x509.CertPool
	known       *remembered // certificates that were good a moment ago
}

// attribute is a name that a certificate has, "" if it has none of this kind.
type attribute func(cert *x509.Certificate) string

// openMTLS returns nil if no client certificates are asked for.
func openMTLS(cfg config.HTTP) (*mtls, error) {
	if cfg.TLS == nil || cfg.TLS.CACert == "" {
		return nil, nil //nolint:nilnil // there are none
	}

	names := cfg.Auth.MTLS
	if names == nil {
		names = &config.MTLS{}
		names.SetDefaults()
	}

	authorities, err := LoadCAs(cfg.TLS.CACert)
	if err != nil {
		return nil, fmt.Errorf("http.tls.cacert: %w", err)
	}

	m := &mtls{realm: cfg.Realm, authorities: authorities, known: newRemembered(rememberFor)}

	for _, name := range names.IdentityAttributes {
		attribute, err := newAttribute(name, *names)
		if err != nil {
			return nil, fmt.Errorf("http.auth.mtls: %w", err)
		}

		m.attributes = append(m.attributes, attribute)
	}

	return m, nil
}

func newAttribute(name string, cfg config.MTLS) (attribute, error) {
	switch name {
	case "CommonName":
		return func(cert *x509.Certificate) string { return cert.Subject.CommonName }, nil
	case "Subject":
		return func(cert *x509.Certificate) string { return cert.Subject.String() }, nil
	case "Email":
		return func(cert *x509.Certificate) string { return at(cert.EmailAddresses, cfg.EmailSANIndex) }, nil
	case "DNSName":
		return func(cert *x509.Certificate) string { return at(cert.DNSNames, cfg.DNSSANIndex) }, nil
	case "URI":
		return newURIAttribute(cfg)
	}

	return nil, fmt.Errorf("no attribute %q of a certificate is known", name)
}

// newURIAttribute takes what the first group of the pattern matches, or the whole URI where
// there is no group or no pattern.
func newURIAttribute(cfg config.MTLS) (attribute, error) {
	pattern, err := regexp.Compile(cfg.URISANPattern)
	if err != nil {
		return nil, fmt.Errorf("uriSanPattern: %w", err)
	}

	return func(cert *x509.Certificate) string {
		if cfg.URISANIndex >= len(cert.URIs) {
			return ""
		}

		uri := cert.URIs[cfg.URISANIndex].String()

		switch groups := pattern.FindStringSubmatch(uri); {
		case groups == nil:
			return ""
		case len(groups) > 1:
			return groups[1]
		default:
			return uri
		}
	}, nil
}

// at returns the i-th name, "" if there are less.
func at(names []string, i int) string {
	if i >= len(names) {
		return ""
	}

	return names[i]
}

// User implements Way. Who sends other credentials besides says by them who he is, where
// another way takes them: Ways ask this one last.
func (m *mtls) User(r *http.Request) (User, error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return User{}, errNotMine
	}

	cert, now := r.TLS.PeerCertificates[0], time.Now()
	mark := passwordMark(sha256.Sum256(cert.Raw))

	if user, ok := m.known.get(mark, now); ok {
		return user, nil
	}

	if err := VerifyClient(r.TLS.PeerCertificates, m.authorities); err != nil {
		return User{}, err
	}

	for _, name := range m.attributes {
		if name := name(cert); name != "" {
			user, until := User{Name: name}, now.Add(rememberFor)
			if cert.NotAfter.Before(until) {
				until = cert.NotAfter
			}

			m.known.addUntil(mark, user, now, until)

			return user, nil
		}
	}

	return User{}, fmt.Errorf("%w: the client certificate has no name of a user", ErrUnauthorized)
}

// Challenge implements Way. There is no registered scheme for certificates; clients skip
// those that they do not know.
func (m *mtls) Challenge(error, Access) string {
	return "ClientCertificate realm=" + quote(cmp.Or(m.realm, defaultRealm))
}
