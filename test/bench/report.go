package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
)

// writeText writes the ratios as a table.
func (c *comparison) writeText(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "test\tof\trate\tto\trate\tunit\tratio\truns\taim")

	for _, r := range c.Ratios {
		if r.Ratio > 0 {
			fmt.Fprintf(table, "%s\t%s\t%.0f\t%s\t%.0f\t%s\t%.2f\t%.2f-%.2f\t%s\n",
				r.Test, r.Of, r.OfRate, r.To, r.ToRate, unitOf(r.Test), r.Ratio, r.Low, r.High, r.verdict())
		}
	}

	fmt.Fprintf(table, "\nflushes of 4 KB a second: one writer %.0f, sixteen writers %.0f\n", c.Flushes["1"], c.Flushes["16"])

	return table.Flush()
}

func (r ratioRow) verdict() string {
	switch {
	case r.Least == 0:
		return ""
	case r.reached():
		return fmt.Sprintf("%g: reached", r.Least)
	default:
		return fmt.Sprintf("%g: MISSED", r.Least)
	}
}

//go:embed report.html
var page string

var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"tests": (*comparison).tests, "bars": (*comparison).bars, "unit": unitOf, "verdict": ratioRow.verdict, "latencies": (*comparison).latencies,
}).Parse(page))

// tests are those that were measured.
func (c *comparison) tests() []string {
	var all []string

	for _, m := range c.Runs {
		for _, r := range m.Results {
			if !slices.Contains(all, r.Name) {
				all = append(all, r.Name)
			}
		}
	}

	return all
}

// registryBar is what a registry did in a test, as a plot shows it: widths in percent.
type registryBar struct {
	Registry string
	Median   float64
	Width    float64
	Dots     []float64 // each run
}

func (c *comparison) bars(test string) []registryBar {
	var (
		bars []registryBar
		most float64
	)

	for _, m := range c.Runs {
		i := slices.IndexFunc(bars, func(b registryBar) bool { return b.Registry == m.Registry })

		for _, r := range m.Results {
			if r.Name != test {
				continue
			}

			if i < 0 {
				i, bars = len(bars), append(bars, registryBar{Registry: m.Registry})
			}

			bars[i].Dots = append(bars[i].Dots, rateOf(r))
			most = max(most, rateOf(r))
		}
	}

	for i := range bars {
		bars[i].Median = median(bars[i].Dots)
		bars[i].Width = 100 * bars[i].Median / most

		for n := range bars[i].Dots {
			bars[i].Dots[n] *= 100 / most
		}
	}

	return bars
}

// latencyRow is how long operations of a test took, in milliseconds: medians of the runs.
type latencyRow struct {
	Registry            string
	P50, P99, P999, Max float64
	ServerCPU           float64 // of the server, for an operation; 0 = not known
	Memory              float64 // MB, at the most
}

func (c *comparison) latencies(test string) []latencyRow {
	var rows []latencyRow

	for _, bar := range c.bars(test) {
		var all [6][]float64

		for _, m := range c.Runs {
			for _, r := range m.Results {
				if m.Registry != bar.Registry || r.Name != test {
					continue
				}

				figures := []float64{r.Latency.P50, r.Latency.P99, r.Latency.P999, r.Latency.Max, 0, 0}
				if r.Server != nil {
					figures[4], figures[5] = r.Server.CPUPerOp, float64(r.Server.MemoryPeak)/1e6
				}

				for i, figure := range figures {
					all[i] = append(all[i], figure)
				}
			}
		}

		rows = append(rows, latencyRow{
			bar.Registry, median(all[0]), median(all[1]), median(all[2]), median(all[3]), median(all[4]), median(all[5]),
		})
	}

	return rows
}

// save writes the report as JSON and as one HTML file, into dir.
func (c *comparison) save(dir, name string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // reports are no secret
		return err
	}

	body, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		return err
	}

	html, err := os.Create(filepath.Join(dir, name+".html"))
	if err != nil {
		return err
	}

	return errors.Join(
		os.WriteFile(filepath.Join(dir, name+".json"), body, 0o644), //nolint:gosec // as above
		pageTemplate.Execute(html, c), html.Close(),
	)
}
