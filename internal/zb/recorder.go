package zb

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// longest is what a histogram can hold; what took longer counts as that.
const longest = time.Hour

// newHistogram returns one of nanoseconds, with three digits, of 260 KB.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(longest), 3)
}

// step is the width of a slot of the recorder's series.
const step = 100 * time.Millisecond

// slot is what ended in one step.
type slot struct {
	done, failed int64
	slowest      time.Duration
}

// sample is one operation.
type sample struct {
	planned, begun, ended time.Time
	queued                bool // no worker was free when it was planned
	bytes                 int64
	err                   error // nil = it went well
}

// recorder takes what one test measures. It may be used concurrently between begin and end.
type recorder struct {
	mu          sync.Mutex // guards what follows
	start, stop time.Time
	latency     *hdrhistogram.Histogram // from planned to ended, of what went well
	service     *hdrhistogram.Histogram // from begun to ended
	lag         *hdrhistogram.Histogram // from planned to begun, where a worker was waiting
	firstByte   *hdrhistogram.Histogram // of each request: from its last byte to the answer's first
	series      []slot
	queued      int64 // arrivals for which no worker was free
	done        int64
	failed      int64
	bytes       int64
	requests    int64
	errors      map[string]int64
	examples    map[string]string // of each kind of error, the first
}

func newRecorder() *recorder {
	return &recorder{
		latency: newHistogram(), service: newHistogram(), lag: newHistogram(), firstByte: newHistogram(),
		errors: map[string]int64{}, examples: map[string]string{},
	}
}

func (r *recorder) begin(at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()

	r.start = at
}

func (r *recorder) end(at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()

	r.stop = at
}

func (r *recorder) add(s sample) {
	r.mu.Lock()
	defer r.mu.Unlock()

	if s.queued {
		r.queued++
	} else {
		record(r.lag, s.begun.Sub(s.planned))
	}

	latency := s.ended.Sub(s.planned)
	at := r.slotOf(s.ended)
	at.slowest = max(at.slowest, latency)

	if s.err != nil {
		r.failed++
		at.failed++
		kind := kindOf(s.err)
		r.errors[kind]++

		if r.examples[kind] == "" {
			r.examples[kind] = s.err.Error()
		}

		return
	}

	r.done++
	at.done++
	r.bytes += s.bytes
	record(r.latency, latency)
	record(r.service, s.ended.Sub(s.begun))
}

// slotOf returns the slot of a time, which begins the series if it is before the start.
func (r *recorder) slotOf(at time.Time) *slot {
	n := max(0, int(at.Sub(r.start)/step))
	for len(r.series) <= n {
		r.series = append(r.series, slot{})
	}

	return &r.series[n]
}

// request takes how long one request waited for the first byte of its answer; less than 0 if
// there was no answer.
func (r *recorder) request(wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()

	r.requests++

	if wait >= 0 {
		record(r.firstByte, wait)
	}
}

func record(h *hdrhistogram.Histogram, d time.Duration) {
	value := min(max(int64(d), 1), int64(longest))
	if err := h.RecordValue(value); err != nil {
		panic(err) // it is within the bounds of newHistogram
	}
}
