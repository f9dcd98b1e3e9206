package zb

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"runtime"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// formatVersion is that of a report in JSON. It changes if a field changes its meaning.
const formatVersion = 1

// Report is what a run measured.
type Report struct {
	Version int       `json:"zbReport"`
	Started time.Time `json:"started"`
	Options Options   `json:"options"`
	Client  Machine   `json:"client"`
	Results []Result  `json:"results"`
	Notes   []string  `json:"notes,omitempty"`
}

// Machine is where the client ran.
type Machine struct {
	OS    string `json:"os"`
	Arch  string `json:"arch"`
	CPUs  int    `json:"cpus"`
	Go    string `json:"go"`
	Local bool   `json:"local"` // the registry, too
}

func thisMachine(local bool) Machine {
	return Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version(), Local: local}
}

// Result is what one test measured. Times are milliseconds.
type Result struct {
	Name        string            `json:"name"`
	About       string            `json:"about"`
	Skipped     string            `json:"skipped,omitempty"` // why it was not measured; the rest is empty then
	Concurrency int               `json:"concurrency"`
	Rate        float64           `json:"rate,omitempty"` // that was planned; 0 = closed loop
	Seconds     float64           `json:"seconds"`
	Operations  int64             `json:"operations"` // that went well
	Failed      int64             `json:"failed"`
	Errors      map[string]int64  `json:"errors,omitempty"`   // by status, or in a word
	Examples    map[string]string `json:"examples,omitempty"` // the first of each
	PerSecond   float64           `json:"perSecond"`
	Bytes       int64             `json:"bytes"` // of blobs and manifests
	Requests    int64             `json:"requests"`
	Queued      int64             `json:"queued,omitempty"`  // arrivals for which no worker was free
	Latency     Summary           `json:"latency"`           // of what went well; in an open loop from the planned arrival
	Service     *Summary          `json:"service,omitempty"` // in an open loop: from when the client turned to it
	FirstByte   Summary           `json:"firstByte"`         // of each request: from its last byte to the answer's first
	Client      Usage             `json:"client"`
	Server      *Usage            `json:"server,omitempty"`
	Limits      []Limit           `json:"limits,omitempty"` // why figures may not be the registry's own
	Curve       []Point           `json:"curve,omitempty"`
	Series      *Series           `json:"series,omitempty"`
}

// MegabytesPerSecond is how many millions of bytes of blobs and manifests there were per second.
func (r *Result) MegabytesPerSecond() float64 {
	if r.Seconds == 0 {
		return 0
	}

	return float64(r.Bytes) / mb / r.Seconds
}

// Summary is a distribution of times, in milliseconds.
type Summary struct {
	Count int64   `json:"count"`
	Min   float64 `json:"min"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p999"`
	Max   float64 `json:"max"`
}

func summarize(h *hdrhistogram.Histogram) Summary {
	if h.TotalCount() == 0 {
		return Summary{}
	}

	at := func(percentile float64) float64 { return millis(h.ValueAtPercentile(percentile)) }

	return Summary{
		Count: h.TotalCount(), Min: millis(h.Min()), Mean: h.Mean() / float64(time.Millisecond),
		P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: millis(h.Max()),
	}
}

func millis(nanoseconds int64) float64 { return float64(nanoseconds) / float64(time.Millisecond) }

// Point says that a percentage of all took at most so many milliseconds.
type Point struct {
	Percentile float64 `json:"percentile"`
	Millis     float64 `json:"millis"`
}

func curveOf(h *hdrhistogram.Histogram) []Point {
	if h.TotalCount() == 0 {
		return nil
	}

	var all []Point
	for _, b := range h.CumulativeDistribution() {
		all = append(all, Point{b.Quantile, millis(b.ValueAt)})
	}

	return all
}

// Series is how a test went by.
type Series struct {
	StepSeconds float64   `json:"stepSeconds"`
	PerSecond   []float64 `json:"perSecond"`
	Failed      []int64   `json:"failed"`
	Slowest     []float64 `json:"slowest"` // milliseconds; of what ended in that step
}

// longestSeries is how many steps a report has, at most.
const longestSeries = 120

func seriesOf(slots []slot) *Series {
	width := max(1, int(math.Ceil(float64(len(slots))/longestSeries)))
	s := &Series{StepSeconds: step.Seconds() * float64(width)}

	for from := 0; from < len(slots); from += width {
		var sum slot

		for _, one := range slots[from:min(from+width, len(slots))] {
			sum.done += one.done
			sum.failed += one.failed
			sum.slowest = max(sum.slowest, one.slowest)
		}

		s.PerSecond = append(s.PerSecond, float64(sum.done)/s.StepSeconds)
		s.Failed = append(s.Failed, sum.failed)
		s.Slowest = append(s.Slowest, millis(int64(sum.slowest)))
	}

	return s
}

// result is what the recorder took.
func (r *recorder) result(t Test, l load, u usages) Result {
	r.mu.Lock()
	defer r.mu.Unlock()

	took := r.stop.Sub(r.start).Seconds()
	res := Result{
		Name: t.Name, About: t.About, Concurrency: l.workers, Rate: l.rate,
		Seconds: took, Operations: r.done, Failed: r.failed, Errors: r.errors, Examples: r.examples,
		Bytes: r.bytes, Requests: r.requests, Queued: r.queued,
		Latency: summarize(r.latency), FirstByte: summarize(r.firstByte),
		Client: u.client, Server: u.server, Curve: curveOf(r.latency), Series: seriesOf(r.series),
	}

	if took > 0 {
		res.PerSecond = float64(r.done) / took
	}

	var lag time.Duration

	if l.rate > 0 {
		service := summarize(r.service)
		res.Service = &service
		lag = time.Duration(r.lag.ValueAtPercentile(99))
	}

	res.Limits = limits(&res, u, lag)

	return res
}

// WriteJSON writes the report as it is read by ReadReport.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")

	return enc.Encode(r)
}

// ReadReport reads what WriteJSON has written.
func ReadReport(r io.Reader) (*Report, error) {
	var report Report
	if err := json.NewDecoder(r).Decode(&report); err != nil {
		return nil, err
	}

	if report.Version != formatVersion {
		return nil, fmt.Errorf("this is no report of zb that this version can read: zbReport is %d, want %d", report.Version, formatVersion)
	}

	return &report, nil
}

// Failed is how many operations of all tests failed.
func (r *Report) Failed() int64 {
	var sum int64
	for _, res := range r.Results {
		sum += res.Failed
	}

	return sum
}
