package api

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/storage"
)

var nopLog = zerolog.Nop()

func TestProbes(t *testing.T) {
	c := dial(t)

	for _, path := range []string{"/livez", "/readyz", "/startupz"} {
		equal(t, c.get(path).expect(t, 200).body, "ok\n", path)
		c.head(path).expect(t, 200)
		c.do(http.MethodPost, path, nil).refused(t, 405, "UNSUPPORTED")
	}
}

func TestDiscover(t *testing.T) {
	a := dial(t).get("/v2/_oci/ext/discover").expect(t, 200)

	for _, part := range []string{`{"extensions":[{"name":"_oci","url":"http`, `"description":"`, `"endpoints":["/v2/_oci/ext/discover","/v2/{name}/_oci/tag-history/{tag}","/v2/{name}/_oci/repository"]`} {
		equal(t, strings.Contains(a.body, part), true, part)
	}
}

func TestBase(t *testing.T) {
	c := dial(t)
	for _, path := range []string{"/v2/", "/v2"} {
		equal(t, c.get(path).expect(t, 200).body, "{}", path)
	}
}

func TestOptions(t *testing.T) {
	const origin, path = "https://ui.example", "/v2/a/manifests/v1"

	ask := func(cfg config.HTTP, from string) answer {
		return dialWith(t, cfg, broken{}).do(http.MethodOptions, path, nil, "Origin: "+from).expect(t, 204)
	}

	a := ask(config.HTTP{}, origin)
	equal(t, a.Header.Get("Allow"), "DELETE, GET, HEAD, OPTIONS, PUT", "Allow")
	equal(t, a.Header.Get("Access-Control-Allow-Origin"), "", "where none is configured")

	a = ask(config.HTTP{AllowOrigin: origin}, origin)
	equal(t, a.Header.Get("Access-Control-Allow-Origin"), origin, "that origin")
	equal(t, a.Header.Get("Access-Control-Allow-Methods"), "DELETE, GET, HEAD, OPTIONS, PUT", "methods")
	equal(t, a.Header.Get("Access-Control-Allow-Credentials"), "true", "credentials")
	equal(t, strings.Contains(a.Header.Get("Access-Control-Allow-Headers"), "Authorization"), true, "headers")

	a = ask(config.HTTP{AllowOrigin: origin}, "https://other.example")
	equal(t, a.Header.Get("Access-Control-Allow-Origin"), "", "another origin")
	equal(t, a.Header.Get("Vary"), "Origin", "Vary")

	a = ask(config.HTTP{AllowOrigin: "*"}, origin)
	equal(t, a.Header.Get("Access-Control-Allow-Origin"), "*", "any origin")
	equal(t, a.Header.Get("Access-Control-Allow-Credentials"), "", "no credentials from anywhere")

	locked := locked(t, func(cfg *config.HTTP) { cfg.AllowOrigin = origin })
	locked.do(http.MethodOptions, path, nil, "Origin: "+origin).expect(t, 204)
	a = locked.get(path, "Origin: "+origin).refused(t, 401, "UNAUTHORIZED")
	equal(t, a.Header.Get("Access-Control-Allow-Origin"), origin, "a page may read errors too")
}

// certificate writes a certificate for 127.0.0.1 that signs itself.
func certificate(t *testing.T) (cert, key string, pool *x509.CertPool) {
	t.Helper()

	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}

	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}

	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}

	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}

	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
	cert, key = filepath.Join(t.TempDir(), "cert"), filepath.Join(t.TempDir(), "key")

	if err := errors.Join(os.WriteFile(cert, certPEM, 0o600), os.WriteFile(key, keyPEM, 0o600)); err != nil {
		t.Fatal(err)
	}

	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)

	return cert, key, pool
}

func TestTLS(t *testing.T) {
	cert, key, pool := certificate(t)
	cfg := config.HTTP{TLS: &config.TLS{Cert: cert, Key: key}, ReadTimeout: time.Minute, WriteTimeout: time.Minute}

	for protocol, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		t.Run(protocol, func(t *testing.T) {
			c := dialWith(t, cfg, openRegistry(t))
			c.base = strings.Replace(c.base, "http", "https", 1)
			transport := c.http.Transport.(*http.Transport)
			transport.TLSClientConfig = &tls.Config{RootCAs: pool}
			transport.ForceAttemptHTTP2 = http2

			content := strings.Repeat("0123456789", 100_000)
			dgst := c.blob("a", content)
			a := c.get("/v2/a/blobs/"+dgst.String()).expect(t, 200)
			equal(t, a.Proto, protocol, "protocol")
			equal(t, a.body == content, true, "content")

			location := c.start("a", "")
			c.do(http.MethodPatch, location, io.MultiReader(strings.NewReader(content))).expect(t, 202)
			c.do(http.MethodPut, location+"?digest="+dgst.String(), nil).expect(t, 201)

			transport.CloseIdleConnections()
			transport.TLSClientConfig = &tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS11} //nolint:gosec // refused

			if resp, err := c.http.Get(c.base); err == nil {
				t.Errorf("TLS 1.1 is answered with %s", resp.Status)
			}
		})
	}
}

func TestBadCertificate(t *testing.T) {
	cert, _, _ := certificate(t)
	_, err := New(config.HTTP{TLS: &config.TLS{Cert: cert, Key: "/no/such"}}, broken{}, nopLog)
	equal(t, err != nil && strings.Contains(err.Error(), "/no/such"), true, "the error names the file")
}

func TestAddressInUse(t *testing.T) {
	c := dial(t)
	host, port, err := net.SplitHostPort(strings.TrimPrefix(c.base, "http://"))
	c.must(err)

	server, err := New(config.HTTP{Address: host, Port: port}, broken{}, nopLog)
	c.must(err)

	_, err = server.Listen()
	equal(t, err != nil && strings.Contains(err.Error(), host+":"+port), true, "the error names the address")
}

// serveOpen serves a registry whose blobs are read when the test says so.
func serveOpen(t *testing.T) (server *Server, url string, entered, leave chan struct{}, served chan error) {
	t.Helper()

	entered, leave, served = make(chan struct{}), make(chan struct{}), make(chan error, 1)
	registry := broken{open: func() (*storage.Object, error) {
		close(entered)
		<-leave

		return stored(strings.NewReader("late"), 4)()
	}}

	server, err := New(config.HTTP{Address: "127.0.0.1", Port: "0"}, registry, nopLog)
	if err != nil {
		t.Fatal(err)
	}

	addr, err := server.Listen()
	if err != nil {
		t.Fatal(err)
	}

	go func() { served <- server.Serve() }()

	return server, "http://" + addr.String() + "/v2/a/blobs/" + someDigest.String(), entered, leave, served
}

type result struct {
	body string
	err  error
}

func fetch(client *http.Client, url string) result {
	resp, err := client.Get(url)
	if err != nil {
		return result{err: err}
	}

	data, err := io.ReadAll(resp.Body)

	return result{body: string(data), err: errors.Join(err, resp.Body.Close())}
}

func TestShutdownDrains(t *testing.T) {
	server, url, entered, leave, served := serveOpen(t)
	client := &http.Client{Transport: &http.Transport{}}
	fetched, stopped := make(chan result, 1), make(chan error, 1)

	go func() { fetched <- fetch(client, url) }()

	<-entered

	go func() { stopped <- server.Shutdown(context.Background()) }()

	equal(t, <-served, nil, "Serve")

	select {
	case err := <-stopped:
		t.Fatalf("Shutdown did not wait: %v", err)
	default:
	}

	rec := httptest.NewRecorder()
	server.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	equal(t, rec.Code, http.StatusServiceUnavailable, "/readyz")

	close(leave)
	equal(t, <-fetched, result{body: "late"}, "the request under way")
	equal(t, <-stopped, nil, "Shutdown")
}

func TestShutdownGivesUp(t *testing.T) {
	server, url, entered, leave, served := serveOpen(t)
	client := &http.Client{Transport: &http.Transport{}}
	fetched := make(chan result, 1)

	go func() { fetched <- fetch(client, url) }()

	<-entered

	ctx, cancel := context.WithCancel(context.Background())
	cancel()

	equal(t, errors.Is(server.Shutdown(ctx), context.Canceled), true, "Shutdown")
	equal(t, <-served, nil, "Serve")
	equal(t, (<-fetched).err != nil, true, "the request under way is cut")
	close(leave)
}

// The registry stays the caller's when a server that never served is shut down.
func TestShutdownWithoutServe(t *testing.T) {
	server, err := New(config.HTTP{Address: "127.0.0.1", Port: "0"}, broken{}, nopLog)
	if err != nil {
		t.Fatal(err)
	}

	if _, err := server.Listen(); err != nil {
		t.Fatal(err)
	}

	equal(t, server.Shutdown(t.Context()), nil, "Shutdown")
	equal(t, server.Serve(), nil, "Serve after it")
}
