package metrics

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"zotregistry.io/zot/pkg/storage"
)

// sentence joins words as Println does.
func sentence(v []any) string { return strings.TrimSpace(fmt.Sprintln(v...)) }

var requestsDesc = prometheus.NewDesc("zot_http_requests_total", "Requests that were answered.",
	[]string{"method", "code"}, nil)

// requestCounts shows how many requests had which method and status: those that occurred.
type requestCounts struct{ *Metrics }

func (requestCounts) Describe(to chan<- *prometheus.Desc) { to <- requestsDesc }

func (c requestCounts) Collect(to chan<- prometheus.Metric) {
	for i := range c.requests {
		for status := range c.requests[i] {
			if n := c.requests[i][status].Load(); n > 0 {
				to <- prometheus.MustNewConstMetric(requestsDesc, prometheus.CounterValue, float64(n),
					methods[i], strconv.Itoa(status))
			}
		}
	}
}

// storeFigures shows the figures of stores.
type storeFigures struct {
	stores func() []storage.StoreStats
}

// figure is a counter with no label but the store.
type figure struct {
	desc  *prometheus.Desc
	value func(s *storage.Stats) float64
}

func counter(name, help string, value func(s *storage.Stats) float64) figure {
	return figure{prometheus.NewDesc(name, help, []string{"store"}, nil), value}
}

var (
	cacheDesc = prometheus.NewDesc("zot_cache_requests_total",
		"Questions to the cache that found something or did not, calls that failed, and calls not made after a failure.",
		[]string{"store", "driver", "result"}, nil)
	flushDesc = prometheus.NewDesc("zot_journal_flush_seconds",
		"How long flushes to disk took; failed ones, too.", []string{"store"}, nil)
	gcRemovedDesc = prometheus.NewDesc("zot_gc_removed_total",
		"What garbage collection has removed, by kind.", []string{"store", "kind"}, nil)
	gcLastDesc = prometheus.NewDesc("zot_gc_last_run_timestamp_seconds",
		"When the last garbage collection of this process ended; none before the first.", []string{"store"}, nil)
	quotaUsedDesc = prometheus.NewDesc("zot_quota_used",
		"What is used of a quota, in bytes or repositories; 0 before the first push that it covers.",
		[]string{"store", "prefix", "unit"}, nil)
	quotaLimitDesc = prometheus.NewDesc("zot_quota_limit",
		"What a quota allows, in bytes or repositories.", []string{"store", "prefix", "unit"}, nil)
)

var figures = []figure{
	counter("zot_journal_commits_total", "Changes to repositories that were committed.",
		func(s *storage.Stats) float64 { return float64(s.Journal.Commits) }),
	counter("zot_journal_batches_total", "Appends to journals, each of one commit or more.",
		func(s *storage.Stats) float64 { return float64(s.Journal.Batches) }),
	counter("zot_journal_failures_total", "Batches of commits that failed.",
		func(s *storage.Stats) float64 { return float64(s.Journal.Failed) }),
	counter("zot_journal_flush_failures_total", "Flushes to disk that failed.",
		func(s *storage.Stats) float64 { return float64(s.Journal.FlushFailed) }),
	counter("zot_journal_checkpoints_total", "Checkpoints that were written.",
		func(s *storage.Stats) float64 { return float64(s.Journal.Checkpoints) }),
	counter("zot_gc_runs_total", "Garbage collections that ended.",
		func(s *storage.Stats) float64 { return float64(s.GC.Runs) }),
	counter("zot_gc_failures_total", "Garbage collections that ended with an error.",
		func(s *storage.Stats) float64 { return float64(s.GC.Failed) }),
	counter("zot_gc_seconds_total", "How long garbage collections took, all together.",
		func(s *storage.Stats) float64 { return s.GC.Took.Seconds() }),
	counter("zot_gc_removed_bytes_total", "Bytes of blobs that garbage collection has freed.",
		func(s *storage.Stats) float64 { return float64(s.GC.Done.Bytes) }),
}

func (storeFigures) Describe(to chan<- *prometheus.Desc) {
	for _, one := range figures {
		to <- one.desc
	}

	for _, desc := range []*prometheus.Desc{cacheDesc, flushDesc, gcRemovedDesc, gcLastDesc, quotaUsedDesc, quotaLimitDesc} {
		to <- desc
	}
}

func (f storeFigures) Collect(to chan<- prometheus.Metric) {
	for _, store := range f.stores() {
		for _, one := range figures {
			to <- prometheus.MustNewConstMetric(one.desc, prometheus.CounterValue, one.value(&store.Stats), store.Prefix)
		}

		collectJournal(to, store)
		collectCache(to, store)
		collectGC(to, store)
		collectQuotas(to, store)
	}
}

func collectJournal(to chan<- prometheus.Metric, store storage.StoreStats) {
	to <- prometheus.MustNewConstSummary(flushDesc, uint64(store.Journal.Flushes),
		store.Journal.FlushTime.Seconds(), nil, store.Prefix)
}

func collectCache(to chan<- prometheus.Metric, store storage.StoreStats) {
	if store.Cache.Driver == (storage.NoCache{}).Name() {
		return
	}

	for result, n := range map[string]int64{
		"hit": store.Cache.Hits, "miss": store.Cache.Misses, "error": store.Cache.Errors, "skipped": store.Cache.Skipped,
	} {
		to <- prometheus.MustNewConstMetric(cacheDesc, prometheus.CounterValue, float64(n),
			store.Prefix, store.Cache.Driver, result)
	}
}

func collectGC(to chan<- prometheus.Metric, store storage.StoreStats) {
	done := store.GC.Done

	for kind, n := range map[string]int{
		"tag": done.Tags, "manifest": done.Manifests, "blob": done.Blobs, "upload": done.Uploads, "repository": done.Emptied,
	} {
		to <- prometheus.MustNewConstMetric(gcRemovedDesc, prometheus.CounterValue, float64(n), store.Prefix, kind)
	}

	if !store.GC.Last.IsZero() {
		to <- prometheus.MustNewConstMetric(gcLastDesc, prometheus.GaugeValue,
			float64(store.GC.Last.UnixMilli())/1000, store.Prefix)
	}
}

func collectQuotas(to chan<- prometheus.Metric, store storage.StoreStats) {
	for _, quota := range store.Quotas {
		for _, one := range []struct {
			unit        string
			used, limit int64
		}{{"bytes", quota.UsedBytes, quota.Bytes}, {"repositories", quota.UsedRepositories, quota.Repositories}} {
			if one.limit == 0 {
				continue
			}

			labels := []string{store.Prefix, string(quota.Prefix), one.unit}
			to <- prometheus.MustNewConstMetric(quotaUsedDesc, prometheus.GaugeValue, float64(one.used), labels...)
			to <- prometheus.MustNewConstMetric(quotaLimitDesc, prometheus.GaugeValue, float64(one.limit), labels...)
		}
	}
}
