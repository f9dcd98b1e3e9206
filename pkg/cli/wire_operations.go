package cli

import (
	"fmt"

	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/api"
	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/audit"
	"zotregistry.io/zot/pkg/metrics"
	"zotregistry.io/zot/pkg/storage"
)

// withMetrics has requests counted, if the configuration asks for it.
func withMetrics(
	cfg *config.Metrics, stores *storage.Stores, audited *audit.Log, outcome *reloadOutcome, log zerolog.Logger,
) api.Option {
	if cfg == nil || !cfg.On() {
		return func(*api.Server) {}
	}

	built := currentBuild()

	shown := metrics.Options{
		Version: built.version, Commit: built.commit, Stores: stores.Stats, Reload: outcome.last, Log: log,
	}

	if audited != nil {
		shown.Audit = audited.Failures
	}

	return api.WithMetrics(cfg.Prometheus.Path, metrics.New(shown))
}

// openAudit opens the audit log, nil if path is empty. The caller calls closeAudit.
func openAudit(path string, log zerolog.Logger) (audited *audit.Log, closeAudit func() error, err error) {
	if path == "" {
		return nil, func() error { return nil }, nil
	}

	if audited, err = audit.Open(path, log); err != nil {
		return nil, nil, fmt.Errorf("log.audit: %w", err)
	}

	return audited, audited.Close, nil
}
