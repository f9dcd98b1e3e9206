package metrics

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/api"
	"zotregistry.io/zot/pkg/storage"
)

func newMetrics(stores ...storage.StoreStats) *Metrics {
	return New(Options{
		Version: "v1.2.3", Commit: "abc", Log: zerolog.Nop(),
		Stores: func() []storage.StoreStats { return stores },
	})
}

// read returns the text that Prometheus reads.
func read(t *testing.T, m *Metrics) string {
	t.Helper()

	rec := httptest.NewRecorder()
	m.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))

	if rec.Code != http.StatusOK || !strings.HasPrefix(rec.Header().Get("Content-Type"), "text/plain") {
		t.Fatalf("status %d, %v: %s", rec.Code, rec.Header(), rec.Body)
	}

	return rec.Body.String()
}

func mustHave(t *testing.T, text string, lines ...string) {
	t.Helper()

	for _, line := range lines {
		if !strings.Contains("\n"+text, "\n"+line+"\n") {
			name, _, _ := strings.Cut(line, "{")
			t.Errorf("there is no %q, but:\n%s", line, linesOf(text, name))
		}
	}
}

func linesOf(text, name string) string {
	var found []string

	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, name) {
			found = append(found, line)
		}
	}

	return strings.Join(found, "")
}

func TestRequests(t *testing.T) {
	m := newMetrics()
	manifest := slices.Index(api.Endpoints(), "manifest")

	for _, done := range []api.Measured{
		{Endpoint: manifest, Method: "PUT", Status: 201, Pushed: true, Took: 3 * time.Millisecond},
		{Endpoint: manifest, Method: "GET", Status: 200, Pulled: true, Sent: 500, Took: 700 * time.Microsecond},
		{Endpoint: manifest, Method: "GET", Status: 404, Sent: 100, Took: 300 * time.Microsecond},
		{Endpoint: len(api.Endpoints()) - 1, Method: "a client's own", Status: 405, Took: time.Hour},
		{Endpoint: 0, Method: "GET", Status: 4711}, // no status: it is measured, and not counted
	} {
		m.Begin()
		m.End(done)
	}

	m.Begin()

	text := read(t, m)
	mustHave(t, text,
		`zot_up 1`,
		`zot_http_requests_total{code="201",method="PUT"} 1`,
		`zot_http_requests_total{code="200",method="GET"} 1`,
		`zot_http_requests_total{code="404",method="GET"} 1`,
		`zot_http_requests_total{code="405",method="other"} 1`,
		`zot_repo_uploads_total 1`,
		`zot_repo_downloads_total 1`,
		`zot_http_sent_bytes_total 600`,
		`zot_http_requests_in_flight 1`,
		`zot_http_method_latency_seconds_bucket{method="PUT",le="0.0025"} 0`,
		`zot_http_method_latency_seconds_bucket{method="PUT",le="0.005"} 1`,
		`zot_http_method_latency_seconds_bucket{method="GET",le="0.0005"} 2`,
		`zot_http_endpoint_latency_seconds_count{endpoint="manifest"} 3`,
		`zot_http_endpoint_latency_seconds_bucket{endpoint="none",le="300"} 0`,
		`zot_http_endpoint_latency_seconds_count{endpoint="none"} 1`,
	)

	if strings.Contains(text, "client's") || strings.Contains(text, "4711") {
		t.Error("a client can make series")
	}

	if strings.Count(text, "zot_http_requests_total{") != 4 {
		t.Error("there are series of what did not occur")
	}
}

func TestStores(t *testing.T) {
	standard := storage.StoreStats{Prefix: "/", Stats: storage.Stats{
		Cache:   storage.CacheStats{Driver: "redis", Hits: 1, Misses: 2, Errors: 3, Skipped: 4},
		Journal: storage.JournalStats{Commits: 5, Batches: 6, Failed: 7, Flushes: 8, FlushFailed: 9, FlushTime: time.Second, Checkpoints: 10},
		GC: storage.GCStats{
			Runs: 11, Failed: 12, Took: 13 * time.Second, Last: time.Unix(14, 0),
			Done: storage.Collected{Tags: 15, Manifests: 16, Blobs: 17, Bytes: 18, Uploads: 19, Emptied: 20},
		},
		Quotas: []storage.QuotaStats{{Quota: storage.Quota{Prefix: "a", Bytes: 21}, UsedBytes: 22, UsedRepositories: 23}},
	}}
	other := storage.StoreStats{Prefix: "/b", Stats: storage.Stats{Cache: storage.CacheStats{Driver: storage.NoCache{}.Name()}}}

	text := read(t, newMetrics(standard, other))
	mustHave(t, text,
		`zot_cache_requests_total{driver="redis",result="hit",store="/"} 1`,
		`zot_cache_requests_total{driver="redis",result="miss",store="/"} 2`,
		`zot_cache_requests_total{driver="redis",result="error",store="/"} 3`,
		`zot_cache_requests_total{driver="redis",result="skipped",store="/"} 4`,
		`zot_journal_commits_total{store="/"} 5`,
		`zot_journal_batches_total{store="/"} 6`,
		`zot_journal_failures_total{store="/"} 7`,
		`zot_journal_flush_seconds_count{store="/"} 8`,
		`zot_journal_flush_failures_total{store="/"} 9`,
		`zot_journal_flush_seconds_sum{store="/"} 1`,
		`zot_journal_checkpoints_total{store="/"} 10`,
		`zot_gc_runs_total{store="/"} 11`,
		`zot_gc_failures_total{store="/"} 12`,
		`zot_gc_seconds_total{store="/"} 13`,
		`zot_gc_last_run_timestamp_seconds{store="/"} 14`,
		`zot_gc_removed_total{kind="tag",store="/"} 15`,
		`zot_gc_removed_total{kind="manifest",store="/"} 16`,
		`zot_gc_removed_total{kind="blob",store="/"} 17`,
		`zot_gc_removed_bytes_total{store="/"} 18`,
		`zot_gc_removed_total{kind="upload",store="/"} 19`,
		`zot_gc_removed_total{kind="repository",store="/"} 20`,
		`zot_quota_limit{prefix="a",store="/",unit="bytes"} 21`,
		`zot_quota_used{prefix="a",store="/",unit="bytes"} 22`,
		`zot_gc_runs_total{store="/b"} 0`,
	)

	for _, absent := range []string{`zot_gc_last_run_timestamp_seconds{store="/b"}`, `driver="none"`, `unit="repositories"`} {
		if strings.Contains(text, absent) {
			t.Errorf("there is %s", absent)
		}
	}
}

// TestNames holds all names of ours to what Prometheus asks of names.
func TestNames(t *testing.T) {
	m := newMetrics(storage.StoreStats{Prefix: "/", Stats: storage.Stats{Cache: storage.CacheStats{Driver: "boltdb"}}})
	m.End(api.Measured{Method: "GET", Status: 200})

	problems, err := promlint.New(strings.NewReader(read(t, m))).Lint()
	if err != nil {
		t.Fatal(err)
	}

	for _, problem := range problems {
		if strings.HasPrefix(problem.Metric, "zot_") && problem.Metric != "zot_info" { // goVersion is upstream zot's
			t.Errorf("%s: %s", problem.Metric, problem.Text)
		}
	}
}

func TestEndAllocatesNothing(t *testing.T) {
	m := newMetrics()
	done := api.Measured{Method: "GET", Status: 200, Pulled: true, Sent: 1, Took: time.Millisecond}

	if n := testing.AllocsPerRun(100, func() {
		m.Begin()
		m.End(done)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkEnd(b *testing.B) {
	m := newMetrics()
	done := api.Measured{Method: "GET", Status: 200, Pulled: true, Sent: 1, Took: time.Millisecond}

	b.ReportAllocs()

	for b.Loop() {
		m.Begin()
		m.End(done)
	}
}
