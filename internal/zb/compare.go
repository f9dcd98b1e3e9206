package zb

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Comparison is two reports, test by test.
type Comparison struct {
	Rows  []Row
	Notes []string // why they can't be compared well
}

// Row is one test. Ratios are of the second report to the first one, 0 if there is none.
type Row struct {
	Name                 string
	A, B                 Result
	Throughput           float64 // above 1 the second is better
	P50, P99, P999       float64 // below 1 the second is better
	ServerCPU            float64 // below 1 the second is better
	OnlyInA, OnlyInB     bool
	ClientIsLimit, Fails bool
}

// Compare compares what both have measured.
func Compare(a, b *Report) Comparison {
	c := Comparison{Notes: differences(a, b)}

	for _, one := range a.Results {
		i := slices.IndexFunc(b.Results, func(other Result) bool { return other.Name == one.Name })
		if i < 0 {
			c.Rows = append(c.Rows, Row{Name: one.Name, A: one, OnlyInA: one.Skipped == ""})

			continue
		}

		c.Rows = append(c.Rows, rowOf(one, b.Results[i]))
	}

	for _, other := range b.Results {
		if !slices.ContainsFunc(a.Results, func(one Result) bool { return one.Name == other.Name }) {
			c.Rows = append(c.Rows, Row{Name: other.Name, B: other, OnlyInB: other.Skipped == ""})
		}
	}

	return c
}

func rowOf(a, b Result) Row {
	row := Row{Name: a.Name, A: a, B: b}

	switch {
	case a.Skipped != "" && b.Skipped != "":
		return row
	case b.Skipped != "":
		row.OnlyInA = true
	case a.Skipped != "":
		row.OnlyInB = true
	default:
		row.Throughput = ratio(b.PerSecond, a.PerSecond)
		row.P50 = ratio(b.Latency.P50, a.Latency.P50)
		row.P99 = ratio(b.Latency.P99, a.Latency.P99)
		row.P999 = ratio(b.Latency.P999, a.Latency.P999)
		row.ClientIsLimit = len(a.Limits)+len(b.Limits) > 0
		row.Fails = a.Failed+b.Failed > 0

		if a.Server != nil && b.Server != nil {
			row.ServerCPU = ratio(b.Server.CPUPerOp, a.Server.CPUPerOp)
		}
	}

	return row
}

func ratio(b, a float64) float64 {
	if a == 0 {
		return 0
	}

	return b / a
}

// differences are those of how the reports were made.
func differences(a, b *Report) []string {
	var all []string

	differs := func(what string, x, y any) {
		if x != y {
			all = append(all, fmt.Sprintf("%s differs: %v and %v", what, x, y))
		}
	}

	differs("the client's operating system", a.Client.OS+"/"+a.Client.Arch, b.Client.OS+"/"+b.Client.Arch)
	differs("the number of the client's CPUs", a.Client.CPUs, b.Client.CPUs)
	differs("whether the registry is on the client's machine", a.Client.Local, b.Client.Local)
	differs("concurrency", a.Options.Concurrency, b.Options.Concurrency)
	differs("rate", a.Options.Rate, b.Options.Rate)
	differs("the number of requests", a.Options.Requests, b.Options.Requests)
	differs("the duration", a.Options.Duration, b.Options.Duration)
	differs("the number of tags", a.Options.Tags, b.Options.Tags)

	return all
}

// Worse lists the tests whose throughput is lower, or whose p99 is longer, by more than so many
// percent, and those in which operations failed in the second report only.
func (c Comparison) Worse(percent float64) []string {
	var all []string

	for _, row := range c.Rows {
		switch {
		case row.OnlyInA:
			all = append(all, row.Name+" is missing")
		case row.Throughput == 0:
		case row.A.Failed == 0 && row.B.Failed > 0:
			all = append(all, fmt.Sprintf("%s: %d failed", row.Name, row.B.Failed))
		case row.Throughput < 1/(1+percent/100):
			all = append(all, fmt.Sprintf("%s: throughput x %s", row.Name, significant(row.Throughput)))
		case row.P99 > 1+percent/100:
			all = append(all, fmt.Sprintf("%s: p99 x %s", row.Name, significant(row.P99)))
		}
	}

	return all
}

// WriteText writes the comparison for people.
func (c Comparison) WriteText(w io.Writer) error {
	var text strings.Builder

	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "test\tper second A\tB\tB/A\tp50 B/A\tp99 B/A\tp99.9 B/A\tserver CPU B/A\tfailed A\tB\t \t")

	for _, row := range c.Rows {
		if row.Throughput > 0 {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t\n", row.Name,
				significant(row.A.PerSecond), significant(row.B.PerSecond), significant(row.Throughput),
				times(row.P50), times(row.P99), times(row.P999), times(row.ServerCPU), row.A.Failed, row.B.Failed, row.mark())
		}
	}

	err := table.Flush()

	for _, row := range c.Rows {
		if row.OnlyInA || row.OnlyInB {
			fmt.Fprintf(&text, "%s: only in %s\n", row.Name, map[bool]string{true: "A", false: "B"}[row.OnlyInA])
		}
	}

	if slices.ContainsFunc(c.Rows, func(r Row) bool { return r.ClientIsLimit }) {
		fmt.Fprintln(&text, "*: a figure may be the limit of the client, or of the machine that both share; see the reports")
	}

	for _, note := range c.Notes {
		fmt.Fprintf(&text, "note: %s\n", note)
	}

	_, writeErr := io.WriteString(w, text.String())

	return errors.Join(err, writeErr)
}

func (r Row) mark() string {
	if r.ClientIsLimit {
		return "*"
	}

	return ""
}

func times(ratio float64) string {
	if ratio == 0 {
		return "-"
	}

	return significant(ratio)
}
