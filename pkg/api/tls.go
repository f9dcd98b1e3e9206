package api

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/auth"
)

// tlsConfig has each new connection use the certificates of its time. nil = plain HTTP.
func (s *Server) tlsConfig() *tls.Config {
	now := s.doors.Load().tls
	if now == nil {
		return nil
	}

	return &tls.Config{
		MinVersion:         now.MinVersion,
		NextProtos:         now.NextProtos,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.doors.Load().tls, nil },
	}
}

// loadTLS returns nil for plain HTTP.
func loadTLS(cfg *config.TLS) (*tls.Config, error) {
	if cfg == nil {
		return nil, nil //nolint:nilnil // nil is what http.Server takes for plain HTTP
	}

	pair, err := tls.LoadX509KeyPair(cfg.Cert, cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("http.tls: load %s and %s: %w", cfg.Cert, cfg.Key, err)
	}

	loaded := &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"h2", "http/1.1"},
	}

	if cfg.CACert == "" { // crypto/tls resumes no session of a client certificate then
		return loaded, nil
	}

	// Who has no certificate may log in by another way, or is refused by HTTP, which says
	// why. Probes need none.
	loaded.ClientAuth = tls.VerifyClientCertIfGiven

	if loaded.ClientCAs, err = auth.LoadCAs(cfg.CACert); err != nil {
		return nil, fmt.Errorf("http.tls.cacert: %w", err)
	}

	loaded.VerifyConnection = resumedBy(loaded.ClientCAs)

	return loaded, nil
}

// resumedBy verifies the client certificate of a session that is resumed: it may be one of
// before a reload, when others were trusted. Who is refused here begins a new session. Not every
// Go 1.26 does so itself (go.dev/issue/77376).
func resumedBy(authorities *x509.CertPool) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		if !state.DidResume || len(state.PeerCertificates) == 0 {
			return nil
		}

		return auth.VerifyClient(state.PeerCertificates, authorities)
	}
}
