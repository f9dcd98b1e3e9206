package auth

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"zotregistry.io/zot/internal/servers"
	"zotregistry.io/zot/pkg/api/config"
)

// shows is a certificate that ca makes, as crypto/tls hands it on.
func shows(t *testing.T, ca *servers.CA, names x509.Certificate) *tls.ConnectionState {
	t.Helper()

	cert, err := x509.ParseCertificate(ca.IssueClient(t, names).Certificate[0])
	must(t, cert, err)

	return &tls.ConnectionState{
		PeerCertificates: []*x509.Certificate{cert}, VerifiedChains: [][]*x509.Certificate{{cert}},
	}
}

func mustURI(t *testing.T, text string) *url.URL {
	t.Helper()

	uri, err := url.Parse(text)

	return must(t, uri, err)
}

func TestIdentity(t *testing.T) {
	ca := servers.NewCA(t)
	full := x509.Certificate{
		Subject:        pkix.Name{CommonName: "ann", Organization: []string{"zot"}},
		EmailAddresses: []string{"ann@example.com", "ann@example.org"},
		DNSNames:       []string{"a.example", "b.example"},
		URIs:           []*url.URL{mustURI(t, "spiffe://example/ns/dev/sa/ann"), mustURI(t, "urn:x")},
	}

	for _, row := range []struct {
		what string
		cfg  config.MTLS
		cert x509.Certificate
		want string
	}{
		{"common name", config.MTLS{IdentityAttributes: []string{"CommonName"}}, full, "ann"},
		{"subject", config.MTLS{IdentityAttributes: []string{"Subject"}}, full, "CN=ann,O=zot"},
		{"email", config.MTLS{IdentityAttributes: []string{"Email"}}, full, "ann@example.com"},
		{"the second email", config.MTLS{IdentityAttributes: []string{"Email"}, EmailSANIndex: 1}, full, "ann@example.org"},
		{"a third email", config.MTLS{IdentityAttributes: []string{"Email"}, EmailSANIndex: 2}, full, ""},
		{"DNS name", config.MTLS{IdentityAttributes: []string{"DNSName"}}, full, "a.example"},
		{"the second DNS name", config.MTLS{IdentityAttributes: []string{"DNSName"}, DNSSANIndex: 1}, full, "b.example"},
		{"URI", config.MTLS{IdentityAttributes: []string{"URI"}}, full, "spiffe://example/ns/dev/sa/ann"},
		{"the second URI", config.MTLS{IdentityAttributes: []string{"URI"}, URISANIndex: 1}, full, "urn:x"},
		{"a third URI", config.MTLS{IdentityAttributes: []string{"URI"}, URISANIndex: 2}, full, ""},
		{
			"part of a URI",
			config.MTLS{IdentityAttributes: []string{"URI"}, URISANPattern: `^spiffe://example/ns/dev/sa/([^/]+)$`},
			full, "ann",
		},
		{
			"a URI that matches",
			config.MTLS{IdentityAttributes: []string{"URI"}, URISANPattern: `^spiffe:`},
			full, "spiffe://example/ns/dev/sa/ann",
		},
		{
			"a URI that does not match",
			config.MTLS{IdentityAttributes: []string{"URI"}, URISANPattern: `^spiffe://other/(.*)$`},
			full, "",
		},
		{
			"the next one where a URI does not match",
			config.MTLS{IdentityAttributes: []string{"URI", "Email"}, URISANPattern: `^urn:(.*)$`},
			full, "ann@example.com",
		},
		{"the first that is there", config.MTLS{IdentityAttributes: []string{"Email", "CommonName"}}, full, "ann@example.com"},
		{
			"the first that is there, the others are not",
			config.MTLS{IdentityAttributes: []string{"URI", "Email", "DNSName", "CommonName"}},
			x509.Certificate{Subject: pkix.Name{CommonName: "bob"}},
			"bob",
		},
		{"nothing", config.MTLS{IdentityAttributes: []string{"CommonName", "Subject", "URI"}}, x509.Certificate{}, ""},
	} {
		m, err := openMTLS(config.HTTP{TLS: &config.TLS{CACert: ca.Path}, Auth: config.Auth{MTLS: &row.cfg}})
		must(t, m, err)

		r := as(t, "", "")
		r.TLS = shows(t, ca, row.cert)

		user, err := m.User(r)
		equal(t, user.Name, row.want, row.what)
		equal(t, errors.Is(err, ErrUnauthorized), row.want == "", fmt.Sprint(row.what, ": ", err))
	}
}

func TestCertificatesThatAreNone(t *testing.T) {
	m, err := openMTLS(config.HTTP{TLS: &config.TLS{CACert: servers.NewCA(t).Path}})
	must(t, m, err)

	cert := &x509.Certificate{Subject: pkix.Name{CommonName: "ann"}}

	for what, state := range map[string]*tls.ConnectionState{
		"plain HTTP":     nil,
		"no certificate": {},
		"not verified":   {PeerCertificates: []*x509.Certificate{cert}},
	} {
		r := as(t, "", "")
		r.TLS = state

		_, err := m.User(r)
		equal(t, err, errNotMine, what)
	}

	for what, cfg := range map[string]config.HTTP{
		"plain HTTP":         {Auth: config.Auth{MTLS: &config.MTLS{}}},
		"TLS without a CA":   {TLS: &config.TLS{Cert: "c"}},
		"neither configured": {},
	} {
		m, err := openMTLS(cfg)
		equal(t, err, nil, what)
		equal(t, m == nil, true, what)
	}
}

// TestCertificatesGetOld: one that was good on a connection is not for as long as that is open.
func TestCertificatesGetOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, other := servers.NewCA(t), servers.NewCA(t)
		m, err := openMTLS(config.HTTP{TLS: &config.TLS{CACert: ca.Path}})
		must(t, m, err)

		now := time.Now()
		ann := x509.Certificate{Subject: pkix.Name{CommonName: "ann"}, NotBefore: now, NotAfter: now.Add(time.Minute)}
		r := as(t, "", "")
		r.TLS = shows(t, ca, ann)

		user, err := m.User(r)
		equal(t, user.Name, "ann", fmt.Sprint(err))

		<-time.After(time.Minute - time.Second)

		user, err = m.User(r)
		equal(t, user.Name, "ann", fmt.Sprint("a moment before its end: ", err))

		<-time.After(2 * time.Second)

		_, err = m.User(r)
		equal(t, errors.Is(err, ErrCertificate), true, fmt.Sprint("after its end: ", err))

		r.TLS = shows(t, other, x509.Certificate{Subject: ann.Subject, NotBefore: now, NotAfter: now.Add(time.Hour)})
		_, err = m.User(r)
		equal(t, errors.Is(err, ErrCertificate), true, fmt.Sprint("of another authority: ", err))
	})
}
