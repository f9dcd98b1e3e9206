package zb

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	. "github.com/smartystreets/goconvey/convey"
)

// made is a report of two tests: of latencies of 1 to 1000 ms, and of what is left out.
func made() *Report {
	rec := newRecorder()
	start := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	rec.begin(start)

	for n := range 1000 {
		planned := start.Add(time.Duration(n) * 20 * time.Millisecond)
		rec.add(sample{
			planned: planned, begun: planned, ended: planned.Add(time.Duration(n+1) * time.Millisecond), bytes: mb,
		})
		rec.request(time.Millisecond)
	}

	rec.add(sample{planned: start, begun: start, ended: start.Add(time.Second), err: errors.New("<script>")})
	rec.end(start.Add(25 * time.Second))

	u := usages{client: Usage{Cores: 0.5}, server: &Usage{Cores: 0.25, CPUPerOp: 2, MemoryPeak: 50 * mb}, idleCores: 0}

	return &Report{
		Version: formatVersion, Started: start, Options: Options{URL: "http://registry", Concurrency: 4},
		Results: []Result{
			rec.result(Test{Name: "push", About: "pushes"}, load{workers: 4}, u),
			{Name: "mount", About: "mounts", Skipped: "not measured: no"},
		},
		Notes: []string{"a note"},
	}
}

func TestResult(t *testing.T) {
	Convey("Of latencies of 1 to 1000 ms", t, func() {
		r := made().Results[0]

		Convey("percentiles are told with three digits", func() {
			So(r.Latency.Count, ShouldEqual, 1000)
			So(r.Latency.Mean, ShouldAlmostEqual, 500.5, 0.6)
			So(r.Latency.P50, ShouldAlmostEqual, 500, 0.6)
			So(r.Latency.P90, ShouldAlmostEqual, 900, 1)
			So(r.Latency.P99, ShouldAlmostEqual, 990, 1)
			So(r.Latency.P999, ShouldAlmostEqual, 999, 1)
			So(r.Latency.Max, ShouldAlmostEqual, 1000, 1)
		})

		Convey("rates are per second of the run", func() {
			So(r.PerSecond, ShouldEqual, 40)
			So(r.MegabytesPerSecond(), ShouldEqual, 40)
			So(r.Failed, ShouldEqual, 1)
			So(r.Errors, ShouldResemble, map[string]int64{"no answer": 1})
		})

		Convey("the series has few steps, and all that happened", func() {
			So(len(r.Series.PerSecond), ShouldBeBetween, 60, longestSeries+1)

			sum := 0.0
			for _, perSecond := range r.Series.PerSecond {
				sum += perSecond * r.Series.StepSeconds
			}

			So(sum, ShouldAlmostEqual, 1000, 0.01)
		})

		Convey("the curve rises", func() {
			So(len(r.Curve), ShouldBeGreaterThan, 10)

			for i := range r.Curve[1:] {
				So(r.Curve[i+1].Millis, ShouldBeGreaterThanOrEqualTo, r.Curve[i].Millis)
			}
		})

		Convey("it is said that the machine had no CPU left", func() {
			So(r.Limits, ShouldHaveLength, 1)
			So(r.Limits[0].Reason, ShouldEqual, othersCPU)
		})
	})

	Convey("What took longer than a histogram holds counts as the longest", t, func() {
		h := newHistogram()
		record(h, 2*longest)
		record(h, -1)

		So(h.Max(), ShouldBeGreaterThan, longest/1000*999)
		So(h.TotalCount(), ShouldEqual, 2)
	})
}

func TestWrite(t *testing.T) {
	Convey("A report", t, func() {
		report := made()

		var out bytes.Buffer

		Convey("is read as it was written", func() {
			So(report.WriteJSON(&out), ShouldBeNil)

			read, err := ReadReport(&out)
			So(err, ShouldBeNil)
			So(read, ShouldResemble, report)
		})

		Convey("of another version is not read", func() {
			_, err := ReadReport(strings.NewReader(`{"zbReport": 2}`))
			So(err, ShouldNotBeNil)

			_, err = ReadReport(strings.NewReader(`[]`))
			So(err, ShouldNotBeNil)
		})

		Convey("is a table with remarks", func() {
			So(report.WriteText(&out), ShouldBeNil)
			So(out.String(), ShouldContainSubstring, "* push  1000       1        40.0  40.0  500 ms")
			So(out.String(), ShouldContainSubstring, "push: 1 failed with no answer, such as: <script>")
			So(out.String(), ShouldContainSubstring, "mount: not measured: no")
			So(out.String(), ShouldContainSubstring, othersCPU+":\n    push (of ")
			So(out.String(), ShouldContainSubstring, "note: a note")
		})

		Convey("is figures for a workflow", func() {
			So(report.WriteCI(&out), ShouldBeNil)

			var figures []map[string]any

			So(json.Unmarshal(out.Bytes(), &figures), ShouldBeNil)
			So(figures, ShouldHaveLength, 1)
			So(figures[0]["name"], ShouldEqual, "push")
			So(figures[0]["unit"], ShouldEqual, "requests per sec")
			So(figures[0]["value"], ShouldEqual, 40)
		})

		Convey("is one page that is well formed and needs no other", func() {
			So(report.WriteHTML(&out), ShouldBeNil)

			page := out.String()
			So(strings.Count(page, "<svg"), ShouldEqual, 2)
			So(page, ShouldContainSubstring, "&lt;script&gt;")
			So(page, ShouldContainSubstring, "not measured: no")

			count, err := elements(page)
			So(err, ShouldBeNil)
			So(count["script"]+count["link"]+count["img"]+count["iframe"], ShouldEqual, 0)
			So(count["polyline"], ShouldEqual, 2)
			So(count["rect"], ShouldBeGreaterThan, 100)
		})
	})
}

// elements counts those of a page by name. A reference to another file is an error.
func elements(page string) (map[string]int, error) {
	dec := xml.NewDecoder(strings.NewReader(page))
	count := map[string]int{}

	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return count, nil
		}

		if err != nil {
			return nil, err
		}

		switch part := token.(type) {
		case xml.StartElement:
			count[part.Name.Local]++

			for _, attr := range part.Attr {
				refers := attr.Name.Local == "src" || attr.Name.Local == "href" && !strings.HasPrefix(attr.Value, "#")
				if refers || strings.Contains(attr.Value, "url(") {
					return nil, errors.New("refers to " + attr.Value)
				}
			}
		case xml.CharData:
			if text := string(part); strings.Contains(text, "@import") || strings.Contains(text, "url(") {
				return nil, errors.New("refers to another file: " + text)
			}
		}
	}
}
