package api

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"zotregistry.io/zot/internal/servers"
	"zotregistry.io/zot/pkg/api/config"
)

// certified serves a store over TLS to those who have a certificate of ca, and to ann.
func certified(t *testing.T, ca *servers.CA, change func(*config.HTTP)) *client {
	t.Helper()

	cert, key := ca.Issue(t)

	c := locked(t, func(cfg *config.HTTP) {
		cfg.TLS = &config.TLS{Cert: cert, Key: key, CACert: ca.Path}

		if change != nil {
			change(cfg)
		}
	})
	c.base = strings.Replace(c.base, "http", "https", 1)

	return c
}

// show makes the client show certificates from now on.
func (c *client) show(ca *servers.CA, certs ...tls.Certificate) {
	c.t.Helper()

	data, err := os.ReadFile(ca.Path)
	c.must(err)

	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(data)

	transport := c.http.Transport.(*http.Transport)
	transport.CloseIdleConnections()
	transport.TLSClientConfig = &tls.Config{
		RootCAs: pool,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if len(certs) == 0 {
				return &tls.Certificate{}, nil
			}

			return &certs[0], nil // whatever CAs the server names
		},
	}
}

func TestClientCertificates(t *testing.T) {
	ca, other := servers.NewCA(t), servers.NewCA(t)
	c := certified(t, ca, nil)
	bob := x509.Certificate{Subject: pkix.Name{CommonName: "bob"}}

	c.show(ca, ca.IssueClient(t, bob))
	c.get("/v2/").expect(t, 200)
	equal(t, c.line()["user"], "bob", "user in the log")

	c.as("ann", "se:cret").expect(t, 200)
	equal(t, c.line()["user"], "ann", "who sends a password besides")
	c.as("ann", "wrong").refused(t, 401, "UNAUTHORIZED")

	c.show(ca)
	a := c.get("/v2/").refused(t, 401, "UNAUTHORIZED")
	equal(t, strings.Join(a.Header.Values("WWW-Authenticate"), "; "),
		`Basic realm="zot", charset="UTF-8"; ClientCertificate realm="zot"`, "challenges")
	c.get("/livez").expect(t, 200)
	c.as("ann", "se:cret").expect(t, 200)

	c.show(ca, ca.IssueClient(t, x509.Certificate{DNSNames: []string{"bob.example"}}))
	c.get("/v2/").refused(t, 401, "UNAUTHORIZED")

	server, err := tls.LoadX509KeyPair(ca.Issue(t))
	c.must(err)

	expired := bob
	expired.NotBefore, expired.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)

	early := bob
	early.NotBefore, early.NotAfter = time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)

	for what, cert := range map[string]tls.Certificate{
		"of another CA":   other.IssueClient(t, bob),
		"expired":         ca.IssueClient(t, expired),
		"not yet valid":   ca.IssueClient(t, early),
		"for a server":    server,
		"without its key": {Certificate: ca.IssueClient(t, bob).Certificate, PrivateKey: other.IssueClient(t, bob).PrivateKey},
	} {
		c.show(ca, cert)

		resp, err := c.http.Get(c.base + "/v2/")
		if err == nil {
			t.Errorf("a certificate %s: %s, %v", what, resp.Status, resp.Body.Close())
		}
	}
}

// Without another way, and whoever sends a password that nobody asks for.
func TestOnlyClientCertificates(t *testing.T) {
	ca := servers.NewCA(t)
	c := certified(t, ca, func(cfg *config.HTTP) {
		cfg.Auth = config.Auth{MTLS: &config.MTLS{IdentityAttributes: []string{"Email"}}}
	})

	c.show(ca)

	a := c.get("/v2/").refused(t, 401, "UNAUTHORIZED")
	equal(t, a.Header.Get("WWW-Authenticate"), `ClientCertificate realm="zot"`, "challenge")
	c.as("ann", "se:cret").refused(t, 401, "UNAUTHORIZED")

	c.show(ca, ca.IssueClient(t, x509.Certificate{EmailAddresses: []string{"bob@example.com"}}))
	c.get("/v2/").expect(t, 200)
	equal(t, c.line()["user"], "bob@example.com", "user in the log")
	c.as("ann", "se:cret").expect(t, 200)
	equal(t, c.line()["user"], "bob@example.com", "user in the log, with a password besides")
}
