package api

import (
	"crypto/tls"
	"fmt"

	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/auth"
)

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

	if cfg.CACert == "" {
		return loaded, nil
	}

	// Who has no certificate may log in by another way, or is refused by HTTP, which says
	// why. Probes need none.
	loaded.ClientAuth = tls.VerifyClientCertIfGiven

	if loaded.ClientCAs, err = auth.LoadCAs(cfg.CACert); err != nil {
		return nil, fmt.Errorf("http.tls.cacert: %w", err)
	}

	return loaded, nil
}
