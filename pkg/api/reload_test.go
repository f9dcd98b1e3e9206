package api

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"

	"zotregistry.io/zot/internal/servers"
	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/auth"
)

func everyoneMay(actions ...string) *config.AccessControl {
	return &config.AccessControl{Repositories: map[string]config.RepositoryPolicy{"**": {DefaultPolicy: actions}}}
}

func TestReloadUsersAndRules(t *testing.T) {
	c := locked(t, nil)
	c.as("ann", "se:cret").expect(t, 200)
	c.as("bob", "other").expect(t, 401)

	cfg := config.HTTP{Auth: config.Auth{HTPasswd: &config.HTPasswd{Path: passwords(t, "bob:"+hash(t, "other"))}}}
	c.must(c.server.Reload(cfg))
	c.as("ann", "se:cret").expect(t, 401) // who was remembered is not any more
	c.as("bob", "other").expect(t, 200)

	login := basic("bob", "other")
	c.send(http.MethodPost, "/v2/a/blobs/uploads/", "", login).expect(t, 202)

	cfg.AccessControl = everyoneMay("read")
	c.must(c.server.Reload(cfg))
	c.send(http.MethodPost, "/v2/a/blobs/uploads/", "", login).refused(t, 403, "DENIED")

	cfg.AccessControl = everyoneMay("read", "create")
	c.must(c.server.Reload(cfg))
	c.send(http.MethodPost, "/v2/a/blobs/uploads/", "", login).expect(t, 202)

	broken := cfg
	broken.Auth.HTPasswd = &config.HTPasswd{Path: passwords(t, "bob:"+hash(t, "other"), "nonsense")}
	broken.AccessControl = nil

	if err := c.server.Reload(broken); err == nil || !strings.HasPrefix(err.Error(), "http.auth.htpasswd.path: ") {
		t.Errorf("a broken file: %v", err)
	}

	broken = cfg
	broken.AccessControl = everyoneMay("fly")

	if err := c.server.Reload(broken); err == nil || !strings.Contains(err.Error(), "http.accessControl.repositories[**]") {
		t.Errorf("a broken rule: %v", err)
	}

	c.as("bob", "other").expect(t, 200)
	c.send(http.MethodPost, "/v2/a/blobs/uploads/", "", login).expect(t, 202)
}

// TestReloadForgetsNoAttempts: who has guessed too often does not get a new start.
func TestReloadForgetsNoAttempts(t *testing.T) {
	c := locked(t, nil)
	for range 20 {
		c.as("ann", "wrong")
	}

	c.as("ann", "se:cret").expect(t, 429)
	c.must(c.server.Reload(config.HTTP{
		Auth: config.Auth{HTPasswd: &config.HTPasswd{Path: passwords(t, "ann:"+hash(t, "se:cret"))}},
	}))
	c.as("ann", "se:cret").expect(t, 429)
}

// TestReloadLimits: a limit that stays is not refilled, one that changes begins anew.
func TestReloadLimits(t *testing.T) {
	cfg := config.HTTP{RateLimit: &config.RateLimit{Rate: 2}}
	c := dialWith(t, cfg, openRegistry(t))
	c.get("/v2/").expect(t, 200)
	c.get("/v2/").expect(t, 200)
	c.get("/v2/").expect(t, 429)

	cfg.RateLimit = &config.RateLimit{Rate: 2}
	c.must(c.server.Reload(cfg))
	c.get("/v2/").expect(t, 429)

	cfg.RateLimit = &config.RateLimit{Rate: 1000}
	c.must(c.server.Reload(cfg))
	c.get("/v2/").expect(t, 200)

	cfg.RateLimit = nil
	c.must(c.server.Reload(cfg))
	c.get("/v2/").expect(t, 200)
}

// TestReloadCertificates: new connections get the new certificate, those that are there go on;
// a key of another certificate is refused.
func TestReloadCertificates(t *testing.T) {
	ca := servers.NewCA(t)
	cert, key := ca.Issue(t)
	cfg := config.HTTP{TLS: &config.TLS{Cert: cert, Key: key}}
	c := dialWith(t, cfg, openRegistry(t))
	c.base = strings.Replace(c.base, "http", "https", 1)
	c.show(ca)

	serial := func() string {
		c.t.Helper()

		return c.get("/v2/").expect(t, 200).TLS.PeerCertificates[0].SerialNumber.String()
	}
	before := serial()

	cfg.TLS = &config.TLS{}
	cfg.TLS.Cert, cfg.TLS.Key = ca.Issue(t)
	c.must(c.server.Reload(cfg))
	equal(t, serial(), before, "certificate of the connection that was there")

	c.http.CloseIdleConnections()

	after := serial()
	equal(t, after != before, true, "the certificate is another one")

	_, otherKey := ca.Issue(t)
	bad := cfg
	bad.TLS = &config.TLS{Cert: cert, Key: otherKey}

	if err := c.server.Reload(bad); err == nil || !strings.HasPrefix(err.Error(), "http.tls: ") {
		t.Errorf("a key of another certificate: %v", err)
	}

	c.http.CloseIdleConnections()
	equal(t, serial(), after, "certificate after a key was refused")
}

// TestReloadClientCAs: who was let in by an authority that is not trusted any more is not, also
// not by a TLS session from before; who still is, is.
func TestReloadClientCAs(t *testing.T) {
	ca, other := servers.NewCA(t), servers.NewCA(t)
	cert, key := ca.Issue(t)
	cfg := config.HTTP{TLS: &config.TLS{Cert: cert, Key: key, CACert: ca.Path}}
	c := dialWith(t, cfg, openRegistry(t))
	c.base = strings.Replace(c.base, "http", "https", 1)
	bob := x509.Certificate{Subject: pkix.Name{CommonName: "bob"}}

	c.show(ca, ca.IssueClient(t, bob))
	transport := c.http.Transport.(*http.Transport)
	transport.TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(8)

	ask := func() (*http.Response, error) {
		c.http.CloseIdleConnections()

		resp, err := c.http.Get(c.base + "/v2/")
		if err == nil {
			c.must(resp.Body.Close())
		}

		return resp, err
	}

	resumed := func(what string) {
		t.Helper()

		resp, err := ask()
		c.must(err)
		equal(t, resp.StatusCode, 200, what)
		equal(t, resp.TLS.DidResume, true, what+": resumed")
	}

	_, err := ask()
	c.must(err)
	resumed("before")

	both := cfg
	both.TLS = &config.TLS{Cert: cert, Key: key, CACert: joined(t, ca.Path, other.Path)}
	c.must(c.server.Reload(both))
	resumed("both are trusted")

	only := cfg
	only.TLS = &config.TLS{Cert: cert, Key: key, CACert: other.Path}
	c.must(c.server.Reload(only))

	if resp, err := ask(); err == nil {
		t.Errorf("a session of an authority that is not trusted any more: %s", resp.Status)
	}

	c.show(ca, other.IssueClient(t, bob))

	resp, err := ask()
	c.must(err)
	equal(t, resp.StatusCode, 200, "a certificate of the new authority")
}

// TestReloadClientCAsOpen: a connection that is open lets nobody in whose authority is not trusted
// any more. It is closed, so that the client can show another certificate.
func TestReloadClientCAsOpen(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			ca, other := servers.NewCA(t), servers.NewCA(t)
			cert, key := ca.Issue(t)
			cfg := config.HTTP{TLS: &config.TLS{Cert: cert, Key: key, CACert: ca.Path}}
			c := dialWith(t, cfg, openRegistry(t))
			c.base = strings.Replace(c.base, "http", "https", 1)
			bob := x509.Certificate{Subject: pkix.Name{CommonName: "bob"}}
			shown := ca.IssueClient(t, bob)

			c.show(ca, shown)
			transport := &http.Transport{
				TLSClientConfig:   c.http.Transport.(*http.Transport).TLSClientConfig.Clone(),
				ForceAttemptHTTP2: protocol == "HTTP/2.0",
			}
			transport.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return &shown, nil
			}
			c.http.Transport = transport
			t.Cleanup(transport.CloseIdleConnections)

			equal(t, c.get("/v2/").expect(t, 200).Proto, protocol, "protocol")

			both := cfg
			both.TLS = &config.TLS{Cert: cert, Key: key, CACert: joined(t, ca.Path, other.Path)}
			c.must(c.server.Reload(both))
			c.get("/v2/").expect(t, 200)

			only := cfg
			only.TLS = &config.TLS{Cert: cert, Key: key, CACert: other.Path}
			c.must(c.server.Reload(only))

			shown = other.IssueClient(t, bob)

			c.get("/v2/").refused(t, 401, "UNAUTHORIZED")
			c.get("/v2/").expect(t, 200)
		})
	}
}

// TestResumed: what is asked of a session that is resumed, whether or not crypto/tls asks too.
func TestResumed(t *testing.T) {
	ca, other := servers.NewCA(t), servers.NewCA(t)

	trusted, err := auth.LoadCAs(ca.Path)
	if err != nil {
		t.Fatal(err)
	}

	shown := func(by *servers.CA, resumed bool) tls.ConnectionState {
		made := by.IssueClient(t, x509.Certificate{Subject: pkix.Name{CommonName: "bob"}})

		cert, err := x509.ParseCertificate(made.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}

		return tls.ConnectionState{DidResume: resumed, PeerCertificates: []*x509.Certificate{cert}}
	}

	verify := resumedBy(trusted)
	equal(t, verify(shown(ca, true)), nil, "of an authority that is trusted")
	equal(t, errors.Is(verify(shown(other, true)), auth.ErrCertificate), true, "of another one")
	equal(t, verify(shown(other, false)), nil, "a new session, which crypto/tls verifies")
	equal(t, verify(tls.ConnectionState{DidResume: true}), nil, "without a certificate")
}

// joined is a file of what is in others.
func joined(t *testing.T, files ...string) string {
	t.Helper()

	var all []string

	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}

		all = append(all, string(data))
	}

	return passwords(t, all...)
}
