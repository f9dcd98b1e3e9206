package zb

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"
)

//go:embed report.html
var page string

var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"ms": inMillis, "n": significant,
	"mb":    func(bytes int64) string { return fmt.Sprintf("%.0f MB", float64(bytes)/mb) },
	"curve": curvePlot, "series": seriesPlot, "remarks": htmlRemarks,
}).Parse(page))

func htmlRemarks(r Result) []string {
	all := r.remarks()
	for _, limit := range r.Limits {
		all = append(all, limit.Reason+" ("+limit.Figures+")")
	}

	return all
}

// WriteHTML writes the report as one file, which needs no other.
func (r *Report) WriteHTML(w io.Writer) error { return pageTemplate.Execute(w, r) }

// The inner size of plots, in the units of their SVG.
const plotWidth, plotHeight = 460.0, 150.0

// plot is what the template draws.
type plot struct {
	Line     string // points of a polyline
	Bars     []bar
	X, Y     []mark
	Caption  string
	MaxValue string
}

type bar struct {
	X, Y, Width, Height float64
	Failed              bool
}

// mark is a word beside an axis.
type mark struct {
	At   float64
	Text string
}

// curvePlot draws how long the slowest took: percentiles from left to right, each nine as wide
// as the one before, and milliseconds on a logarithmic scale.
func curvePlot(r Result) plot {
	if len(r.Curve) == 0 {
		return plot{}
	}

	low, high := math.Inf(1), 0.0

	for _, p := range r.Curve {
		low, high = min(low, p.Millis), max(high, p.Millis)
	}

	from, to := math.Floor(math.Log10(max(low, 1e-3))), math.Ceil(math.Log10(max(high, 1e-3)))
	to = max(to, from+1)
	y := func(ms float64) float64 {
		return plotHeight * (1 - (math.Log10(max(ms, 1e-3))-from)/(to-from))
	}

	p := plot{Caption: "latency by percentile"}

	var points []string
	for _, at := range r.Curve {
		points = append(points, fmt.Sprintf("%.1f,%.1f", ninesAt(at.Percentile), y(at.Millis)))
	}

	p.Line = strings.Join(points, " ")

	for _, percentile := range []float64{0, 50, 90, 99, 99.9, 99.99} {
		p.X = append(p.X, mark{ninesAt(percentile), fmt.Sprint(percentile)})
	}

	for power := from; power <= to; power++ {
		p.Y = append(p.Y, mark{y(math.Pow(10, power)), inMillis(math.Pow(10, power))})
	}

	return p
}

// mostNines is how many nines the plot has room for; what is beyond is at its right edge.
const mostNines = 4.0

func ninesAt(percentile float64) float64 {
	nines := mostNines
	if percentile < 100 {
		nines = min(mostNines, -math.Log10(1-percentile/100))
	}

	return plotWidth * nines / mostNines
}

// seriesPlot draws operations per second as bars, and the slowest of each step as a line with
// a scale of its own.
func seriesPlot(r Result) plot {
	if r.Series == nil || len(r.Series.PerSecond) == 0 {
		return plot{}
	}

	most, slowest := 0.0, 0.0
	for i := range r.Series.PerSecond {
		most, slowest = max(most, r.Series.PerSecond[i]), max(slowest, r.Series.Slowest[i])
	}

	p := plot{Caption: "operations per second (bars); the slowest of each step (line)", MaxValue: inMillis(slowest)}
	width := plotWidth / float64(len(r.Series.PerSecond))

	var points []string

	for i, perSecond := range r.Series.PerSecond {
		height := plotHeight * share(perSecond, most)
		p.Bars = append(p.Bars, bar{width * float64(i), plotHeight - height, max(width-0.5, 0.5), height, false})

		if r.Series.Failed[i] > 0 {
			p.Bars = append(p.Bars, bar{width * float64(i), 0, max(width-0.5, 1), 6, true})
		}

		points = append(points, fmt.Sprintf("%.1f,%.1f", width*(float64(i)+0.5), plotHeight*(1-share(r.Series.Slowest[i], slowest))))
	}

	p.Line = strings.Join(points, " ")
	p.X = []mark{{0, "0 s"}, {plotWidth, significant(r.Series.StepSeconds*float64(len(r.Series.PerSecond))) + " s"}}
	p.Y = []mark{{plotHeight, "0"}, {0, significant(most)}}

	return p
}

func share(part, whole float64) float64 {
	if whole == 0 {
		return 0
	}

	return part / whole
}
