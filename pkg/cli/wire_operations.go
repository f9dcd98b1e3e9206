package cli

import (
	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/api"
	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/metrics"
	"zotregistry.io/zot/pkg/storage"
)

// withMetrics has requests counted, if the configuration asks for it.
func withMetrics(cfg *config.Metrics, stores *storage.Stores, log zerolog.Logger) api.Option {
	if cfg == nil || !cfg.On() {
		return func(*api.Server) {}
	}

	built := currentBuild()

	return api.WithMetrics(cfg.Prometheus.Path, metrics.New(metrics.Options{
		Version: built.version, Commit: built.commit, Stores: stores.Stats, Log: log,
	}))
}
