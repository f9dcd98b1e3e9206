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
	http *http.Transport
	auth *authorizer
	rec  atomic.Pointer[recorder] // nil: nothing is measured
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

	return &transport{http: t, auth: newAuthorizer(o.Auth, base.Host, t)}, nil
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
	resp, err := t.once(t.auth.authorized(req))
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
	rec := t.rec.Load()
	if rec == nil {
		return t.http.RoundTrip(req)
	}

	begun := time.Now()

	if req.Body == nil { // all is sent at once: what net/http tells of it would cost the client a tenth of its time
		resp, err := t.http.RoundTrip(req)
		if err != nil {
			rec.request(-1)
		} else {
			rec.request(time.Since(begun))
		}

		return resp, err
	}

	var sent, answered atomic.Int64

	trace := &httptrace.ClientTrace{
		WroteRequest:         func(httptrace.WroteRequestInfo) { sent.Store(int64(time.Since(begun))) },
		GotFirstResponseByte: func() { answered.Store(int64(time.Since(begun))) },
	}

	resp, err := t.http.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))

	if first := answered.Load(); first > 0 {
		// An answer may overtake the note that all was sent.
		rec.request(time.Duration(max(0, first-sent.Load())))
	} else {
		rec.request(-1)
	}

	return resp, err
}

func (t *transport) close() { t.http.CloseIdleConnections() }

// errChallenge is a demand for credentials that is not understood.
var errChallenge = errors.New("the registry wants other credentials than a name and a password, or a token")
