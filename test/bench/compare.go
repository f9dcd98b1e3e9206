package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"zotregistry.io/zot/internal/zb"
)

// comparison is the same work given to several registries in turns, each time on an empty
// directory, so that what else the machine does meets all of them.
type comparison struct {
	Title   string             `json:"title"`
	Started time.Time          `json:"started"`
	Machine zb.Machine         `json:"machine"`
	Flushes map[string]float64 `json:"flushesPerSecond"` // of the disk, by how many files are written at once
	Runs    []measured         `json:"runs"`             // in the order in which they were made
	Ratios  []ratioRow         `json:"ratios"`
}

// measured is one registry in one run.
type measured struct {
	Run      int         `json:"run"`
	Registry string      `json:"registry"`
	Results  []zb.Result `json:"results"`
}

// ratioRow is what came of an aim. The ratio is the median of those of the runs, since what
// disturbs a run disturbs both.
type ratioRow struct {
	Test   string  `json:"test"`
	Of     string  `json:"of"`
	To     string  `json:"to"`
	OfRate float64 `json:"ofRate"` // medians: operations a second, or MB where they are huge
	ToRate float64 `json:"toRate"`
	Ratio  float64 `json:"ratio"`
	Low    float64 `json:"low"` // of a run
	High   float64 `json:"high"`
	Least  float64 `json:"least,omitempty"` // the aim; 0 = none
}

func (r ratioRow) reached() bool { return r.Ratio >= r.Least }

// compare measures what the aims need.
func compare(ctx context.Context, o options, out io.Writer, title string, aims []aim, targets ...target) (c *comparison, err error) {
	c = &comparison{Title: title, Started: time.Now().UTC()}

	defer func() { err = errors.Join(err, removeRetired()) }()

	if c.Flushes, err = flushRates(ctx); err != nil {
		return nil, err
	}

	for run := range o.runs {
		for i := range targets { // another one is first in each run: what it finds is not what others find
			t := targets[(run+i)%len(targets)]

			results, machine, err := measure(ctx, o, t, testsOf(aims, t.name), run)

			// On a bucket the peer sometimes answers 500 where uploads begin at the same time.
			for again := 0; err != nil && t.name == distributionName && again < 3; again++ {
				fmt.Fprintf(out, "run %d of %d  %-18s once more: %v\n", run+1, o.runs, t.name, err)

				results, machine, err = measure(ctx, o, t, testsOf(aims, t.name), run)
			}

			if err != nil {
				return nil, fmt.Errorf("%s: %w", t.name, err)
			}

			c.Machine = machine
			c.Runs = append(c.Runs, measured{run, t.name, results})
			fmt.Fprintf(out, "run %d of %d  %-18s %s\n", run+1, o.runs, t.name, ratesOf(results))
		}
	}

	for _, a := range aims {
		c.Ratios = append(c.Ratios, c.ratio(a, o.runs))
	}

	return c, nil
}

// measure starts t on an empty directory and measures it.
func measure(ctx context.Context, o options, t target, tests []string, run int) (_ []zb.Result, _ zb.Machine, err error) {
	s, err := t.open(ctx)
	if err != nil {
		return nil, zb.Machine{}, err
	}

	defer func() { err = errors.Join(err, s.retire()) }()

	opts := zb.Options{
		URL: "http://" + s.daemon.Addr, Auth: t.login, Concurrency: o.clients, Repo: fmt.Sprint("bench", run), Tags: 1,
		Timeout: time.Minute, SkipCleanup: true, PID: s.daemon.PID(), Touch: run == 0,
	}

	brief, huge := opts, opts
	brief.Duration = o.duration
	brief.Tests = slices.DeleteFunc(slices.Clone(tests), isHuge)
	huge.Tests = slices.DeleteFunc(slices.Clone(tests), func(test string) bool { return !isHuge(test) })

	var (
		all     []zb.Result
		machine zb.Machine
	)

	for _, opts := range []zb.Options{brief, huge} {
		if len(opts.Tests) == 0 || isHuge(opts.Tests[0]) && o.short {
			continue
		}

		report, err := zb.Run(ctx, opts, nil)
		if err != nil {
			return nil, zb.Machine{}, err
		}

		all, machine = append(all, report.Results...), report.Client
	}

	return all, machine, failures(all)
}

// isHuge says whether a test is measured in megabytes, and by a number of operations.
func isHuge(test string) bool {
	return strings.HasPrefix(test, "blob-") && strings.HasSuffix(test, "mb")
}

// failures is an error where operations failed: figures beside them mean nothing.
func failures(results []zb.Result) error {
	var all []error

	for _, r := range results {
		if r.Failed > 0 {
			all = append(all, fmt.Errorf("%s: %d of %d operations failed: %v", r.Name, r.Failed, r.Operations+r.Failed, r.Examples))
		}
	}

	return errors.Join(all...)
}

func rateOf(r zb.Result) float64 {
	if isHuge(r.Name) {
		return r.MegabytesPerSecond()
	}

	return r.PerSecond
}

func unitOf(test string) string {
	if isHuge(test) {
		return "MB/s"
	}

	return "a second"
}

func ratesOf(results []zb.Result) string {
	var all []string
	for _, r := range results {
		all = append(all, fmt.Sprintf("%s %.0f", r.Name, rateOf(r)))
	}

	return strings.Join(all, ", ")
}

// ratio compares what the runs say of an aim.
func (c *comparison) ratio(a aim, runs int) ratioRow {
	var of, to, ratios []float64

	for run := range runs {
		x, okOf := c.rate(run, a.of, a.test)
		y, okTo := c.rate(run, a.to, a.test)

		if okOf && okTo {
			of, to, ratios = append(of, x), append(to, y), append(ratios, x/y)
		}
	}

	row := ratioRow{Test: a.test, Of: a.of, To: a.to, Least: a.least}
	if len(ratios) > 0 {
		row.OfRate, row.ToRate, row.Ratio = median(of), median(to), median(ratios)
		row.Low, row.High = slices.Min(ratios), slices.Max(ratios)
	}

	return row
}

func (c *comparison) rate(run int, registry, test string) (float64, bool) {
	for _, m := range c.Runs {
		if m.Run != run || m.Registry != registry {
			continue
		}

		for _, r := range m.Results {
			if r.Name == test {
				return rateOf(r), true
			}
		}
	}

	return 0, false
}

func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))

	return values[len(values)/2]
}
