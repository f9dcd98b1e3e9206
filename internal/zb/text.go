package zb

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	var text strings.Builder

	fmt.Fprintf(&text, "%s  %s\n\n", r.Options.URL, r.Started.Format(time.RFC3339))

	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "test\tdone\tfailed\tper second\tMB/s\tp50\tp90\tp99\tp99.9\tmax\tfirst byte p50\tserver CPU per op\tserver memory\t")

	for _, res := range r.Results {
		if res.Skipped == "" {
			fmt.Fprintln(table, strings.Join(res.row(), "\t")+"\t")
		}
	}

	err := table.Flush()

	for _, res := range r.Results {
		for _, remark := range res.remarks() {
			fmt.Fprintf(&text, "\n%s: %s", res.Name, remark)
		}
	}

	r.writeLimits(&text)

	for _, note := range r.Notes {
		fmt.Fprintf(&text, "\nnote: %s", note)
	}

	_, writeErr := fmt.Fprintln(w, strings.TrimRight(text.String(), "\n"))

	return errors.Join(err, writeErr)
}

// writeLimits writes each reason once, with the tests of which it holds.
func (r *Report) writeLimits(w io.Writer) {
	tests := map[string][]string{}

	for _, res := range r.Results {
		for _, limit := range res.Limits {
			tests[limit.Reason] = append(tests[limit.Reason], fmt.Sprintf("%s (%s)", res.Name, limit.Figures))
		}
	}

	for _, reason := range slices.Sorted(maps.Keys(tests)) {
		fmt.Fprintf(w, "\n* %s:\n    %s", reason, strings.Join(tests[reason], "\n    "))
	}
}

// row is the cells of a table.
func (r *Result) row() []string {
	cells := []string{
		r.mark() + r.Name, fmt.Sprint(r.Operations), fmt.Sprint(r.Failed), significant(r.PerSecond), significant(r.MegabytesPerSecond()),
		inMillis(r.Latency.P50), inMillis(r.Latency.P90), inMillis(r.Latency.P99), inMillis(r.Latency.P999), inMillis(r.Latency.Max),
		inMillis(r.FirstByte.P50),
	}

	if r.Server == nil {
		return append(cells, "-", "-")
	}

	return append(cells, inMillis(r.Server.CPUPerOp), fmt.Sprintf("%.0f MB", float64(r.Server.MemoryPeak)/mb))
}

// remarks are what is to be known beside the figures.
func (r *Result) remarks() []string {
	if r.Skipped != "" {
		return []string{r.Skipped}
	}

	var all []string

	for _, kind := range slices.Sorted(maps.Keys(r.Errors)) {
		all = append(all, fmt.Sprintf("%d failed with %s, such as: %s", r.Errors[kind], kind, r.Examples[kind]))
	}

	if r.Service != nil {
		all = append(all, fmt.Sprintf("%s arrived per second; once begun they took p50 %s, p99 %s, p99.9 %s",
			significant(r.Rate), inMillis(r.Service.P50), inMillis(r.Service.P99), inMillis(r.Service.P999)))
	}

	return all
}

// mark is a star at a test whose figures have a limit.
func (r *Result) mark() string {
	if len(r.Limits) > 0 {
		return "* "
	}

	return ""
}

// inMillis writes milliseconds with three digits, in seconds where there are many.
func inMillis(ms float64) string {
	if ms >= 1000 {
		return significant(ms/1000) + " s"
	}

	return significant(ms) + " ms"
}

// significant writes a number with three digits, or all that are before the point.
func significant(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 1:
		return fmt.Sprintf("%.3f", v)
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.0f", v)
	}
}
