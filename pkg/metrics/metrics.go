// Package metrics counts requests, and shows that and the figures of the stores to
// Prometheus. docs/operations.md lists what it shows.
//
// No label has a value that a client chooses: neither repositories nor users nor paths. So the
// number of series depends on the configuration alone, and who may read the metrics learns no
// names.
package metrics

import (
	"net/http"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/api"
	"zotregistry.io/zot/pkg/storage"
)

// Options are what is shown beside requests.
type Options struct {
	Version string
	Commit  string
	Stores  func() []storage.StoreStats
	Audit   func() int64                           // lines that could not be written; nil = there is no audit log
	Reload  func() (refused bool, taken time.Time) // the last reload, and when one was taken in last; nil = not shown
	Log     zerolog.Logger
}

// Metrics implements api.Metrics. New makes it; its methods may be called concurrently.
type Metrics struct {
	http.Handler

	requests [len(methods)][maxStatus]atomic.Uint64
	byMethod [len(methods)]prometheus.Observer
	byRoute  []prometheus.Observer // by api.Endpoint
	pushed   prometheus.Counter
	pulled   prometheus.Counter
	sent     prometheus.Counter
	running  prometheus.Gauge
}

var _ api.Metrics = (*Metrics)(nil)

// methods are those that are told apart.
var methods = [...]string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	http.MethodOptions, other,
}

// other stands for methods that no endpoint has.
const other = "other"

// maxStatus is above all codes of answers.
const maxStatus = 600

// buckets are the upper bounds of latencies, in seconds: from what memory answers to a layer
// over a slow line.
var buckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}

// New makes metrics that have counted nothing yet.
func New(opts Options) *Metrics {
	m := &Metrics{}
	registry := prometheus.NewRegistry()

	m.measure(registry)
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		requestCounts{m},
		storeFigures{opts.Stores},
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "zot_up", Help: "1: zot serves."}, func() float64 { return 1 }),
	)

	if opts.Audit != nil {
		registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "zot_audit_failures_total", Help: "Lines of the audit log that could not be written.",
		}, func() float64 { return float64(opts.Audit()) }))
	}

	if opts.Reload != nil {
		registry.MustRegister(reloadFigures(opts.Reload)...)
	}

	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "zot_info", Help: "1; the labels say what runs."},
		[]string{"version", "commit", "goVersion"})
	info.WithLabelValues(opts.Version, opts.Commit, runtime.Version()).Set(1)
	registry.MustRegister(info)

	m.Handler = promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:      errorLog{opts.Log},
		ErrorHandling: promhttp.ContinueOnError, // what can be had is better than nothing
	})

	return m
}

// measure makes what requests are counted in. Every series exists from the start.
func (m *Metrics) measure(registry *prometheus.Registry) {
	byMethod := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "zot_http_method_latency_seconds", Buckets: buckets,
		Help: "From a request's headers to the end of its answer, by method.",
	}, []string{"method"})
	byRoute := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "zot_http_endpoint_latency_seconds", Buckets: buckets,
		Help: "From a request's headers to the end of its answer, by kind of URL.",
	}, []string{"endpoint"})
	m.pushed = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "zot_repo_uploads_total", Help: "Manifests that were pushed.",
	})
	m.pulled = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "zot_repo_downloads_total", Help: "Manifests that were pulled.",
	})
	m.sent = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "zot_http_sent_bytes_total", Help: "Bytes of bodies that were sent.",
	})
	m.running = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "zot_http_requests_in_flight", Help: "Requests that are being answered.",
	})

	registry.MustRegister(byMethod, byRoute, m.pushed, m.pulled, m.sent, m.running)

	for i, method := range methods {
		m.byMethod[i] = byMethod.WithLabelValues(method)
	}

	for _, name := range api.Endpoints() {
		m.byRoute = append(m.byRoute, byRoute.WithLabelValues(name))
	}
}

// Begin implements api.Metrics.
func (m *Metrics) Begin() { m.running.Inc() }

// End implements api.Metrics. It allocates nothing.
func (m *Metrics) End(done api.Measured) {
	method := methodIndex(done.Method)
	seconds := done.Took.Seconds()

	if done.Status >= 0 && done.Status < maxStatus {
		m.requests[method][done.Status].Add(1)
	}

	m.byMethod[method].Observe(seconds)
	m.byRoute[done.Endpoint].Observe(seconds)
	m.sent.Add(float64(done.Sent))
	m.running.Dec()

	switch {
	case done.Pushed:
		m.pushed.Inc()
	case done.Pulled:
		m.pulled.Inc()
	}
}

func methodIndex(method string) int {
	for i, name := range methods {
		if name == method {
			return i
		}
	}

	return len(methods) - 1
}

// errorLog takes what promhttp has to say.
type errorLog struct{ zerolog.Logger }

func (l errorLog) Println(v ...any) { l.Error().Msg("metrics: " + sentence(v)) }
