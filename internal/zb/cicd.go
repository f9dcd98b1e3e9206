package zb

import (
	"encoding/json"
	"io"
)

// figure is what github-action-benchmark reads.
type figure struct {
	Name  string  `json:"name"`
	Unit  string  `json:"unit"`
	Value float64 `json:"value"`
	Extra string  `json:"extra,omitempty"`
}

// WriteCI writes operations per second as github-action-benchmark reads them, as
// "customBiggerIsBetter".
func (r *Report) WriteCI(w io.Writer) error {
	all := []figure{}

	for _, res := range r.Results {
		if res.Skipped == "" {
			all = append(all, figure{
				Name: res.Name, Unit: "requests per sec", Value: res.PerSecond, Extra: "p99 " + inMillis(res.Latency.P99),
			})
		}
	}

	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")

	return enc.Encode(all)
}
