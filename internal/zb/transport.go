package zb

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"os"
	"sync/atomic"
	"time"
)

// transport sends requests, with credentials, and tells a recorder of each. It may be used
// concurrently.
type transport struct {
	http   *http.Transport
	direct *direct // to the registry; nil: not without TLS, or through a proxy
	auth   *authorizer
	rec    atomic.Pointer[recorder] // nil: nothing is measured
}

func newTransport(o Options, base *url.URL) (*transport, error) {
	trust, err := trusted(o)
	if err != nil {
		return nil, err
	}

	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer(o.SourceIPs),
		TLSClientConfig:     trust,
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: 2 * o.Concurrency,
		DisableCompression:  true, // digests are of what is sent
		WriteBufferSize:     64 << 10,
		ReadBufferSize:      64 << 10,
	}

	direct, err := directTo(base, t)
	if err != nil {
		return nil, err
	}

	return &transport{http: t, direct: direct, auth: newAuthorizer(o.Auth, base.Host, t)}, nil
}

// directTo returns the direct way to a registry, nil if there is none.
func directTo(base *url.URL, t *http.Transport) (*direct, error) {
	if base.Scheme != "http" {
		return nil, nil //nolint:nilnil // net/http will do
	}

	proxy, err := t.Proxy(&http.Request{URL: base})
	if err != nil || proxy != nil {
		return nil, err
	}

	port := base.Port()
	if port == "" {
		port = "80"
	}

	return &direct{addr: net.JoinHostPort(base.Hostname(), port), dial: t.DialContext}, nil
}

func trusted(o Options) (*tls.Config, error) {
	config := &tls.Config{InsecureSkipVerify: o.Insecure} //nolint:gosec // the user asks for it
	if o.CACert == "" {
		return config, nil
	}

	pem, err := os.ReadFile(o.CACert)
	if err != nil {
		return nil, err
	}

	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate", o.CACert)
	}

	return config, nil
}

// dialer makes connections from addresses in turns.
func dialer(sources []netip.Addr) func(ctx context.Context, network, addr string) (net.Conn, error) {
	if len(sources) == 0 {
		return (&net.Dialer{}).DialContext
	}

	var next atomic.Uint64

	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		source := sources[(next.Add(1)-1)%uint64(len(sources))]
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))}

		return d.DialContext(ctx, network, addr)
	}
}

// RoundTrip sends a request; if credentials are wanted that were not sent, it sends them.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	t.auth.authorize(req)

	resp, err := t.once(req)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}

	again, err := t.auth.answer(req, resp)
	if err != nil || again == nil {
		return resp, err
	}

	if err := resp.Body.Close(); err != nil {
		return nil, err
	}

	return t.once(again)
}

// once sends a request and measures it.
func (t *transport) once(req *http.Request) (*http.Response, error) {
	send := t.timed
	if t.direct != nil && req.URL.Scheme == "http" && req.URL.Host == t.auth.host {
		send = t.direct.roundTrip
	}

	resp, wait, err := send(req)
	if err != nil {
		wait = -1
	}

	if rec := t.rec.Load(); rec != nil {
		rec.request(wait)
	}

	return resp, err
}

// timed sends a request by net/http, and says how long it took from its last byte to the first
// of the answer.
func (t *transport) timed(req *http.Request) (*http.Response, time.Duration, error) {
	var (
		sent, answered atomic.Int64
		begun          = time.Now()
	)

	trace := &httptrace.ClientTrace{
		WroteRequest:         func(httptrace.WroteRequestInfo) { sent.Store(int64(time.Since(begun))) },
		GotFirstResponseByte: func() { answered.Store(int64(time.Since(begun))) },
	}

	resp, err := t.http.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))

	return resp, time.Duration(max(0, answered.Load()-sent.Load())), err // an answer may overtake the note that all was sent
}

func (t *transport) close() error {
	t.http.CloseIdleConnections()

	if t.direct == nil {
		return nil
	}

	return t.direct.close()
}

// errChallenge is a demand for credentials that is not understood.
var errChallenge = errors.New("the registry wants other credentials than a name and a password, or a token")
