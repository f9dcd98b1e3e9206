package zb

import (
	"bytes"
	"strings"
	"testing"

	. "github.com/smartystreets/goconvey/convey"
)

func TestCompare(t *testing.T) {
	Convey("Two reports", t, func() {
		a, b := made(), made()

		Convey("that are equal have the ratio 1, and nothing is worse", func() {
			c := Compare(a, b)

			So(c.Rows, ShouldHaveLength, 2)
			So(c.Rows[0].Throughput, ShouldEqual, 1)
			So(c.Rows[0].P99, ShouldEqual, 1)
			So(c.Rows[0].ServerCPU, ShouldEqual, 1)
			So(c.Notes, ShouldBeEmpty)
			So(c.Worse(5), ShouldBeEmpty)
		})

		Convey("are compared test by test", func() {
			b.Results[0].PerSecond, b.Results[0].Latency.P99 = 20, 1980

			c := Compare(a, b)
			So(c.Rows[0].Throughput, ShouldEqual, 0.5)
			So(c.Rows[0].P99, ShouldAlmostEqual, 2, 0.01)
			So(c.Worse(101), ShouldBeEmpty)
			So(c.Worse(50), ShouldResemble, []string{"push: throughput x 0.500"})

			var out bytes.Buffer

			So(c.WriteText(&out), ShouldBeNil)
			So(out.String(), ShouldContainSubstring, "push          40.0  20.0  0.500")
			So(out.String(), ShouldContainSubstring, "*: a figure may be")
		})

		Convey("whose second one is slower in the tail only is worse by p99", func() {
			b.Results[0].Latency.P99 *= 3

			So(Compare(a, b).Worse(50), ShouldHaveLength, 1)
			So(Compare(a, b).Worse(50)[0], ShouldStartWith, "push: p99 x 3.00")
		})

		Convey("whose second one has failures where the first had none is worse", func() {
			a.Results[0].Failed = 0

			So(Compare(a, b).Worse(50), ShouldResemble, []string{"push: 1 failed"})
		})

		Convey("may have tests that the other has not", func() {
			b.Results[0].Name = "pull"

			c := Compare(a, b)
			So(c.Rows[0].OnlyInA, ShouldBeTrue)
			So(c.Rows[len(c.Rows)-1].OnlyInB, ShouldBeTrue)
			So(c.Worse(50), ShouldResemble, []string{"push is missing"})

			var out bytes.Buffer

			So(c.WriteText(&out), ShouldBeNil)
			So(out.String(), ShouldContainSubstring, "push: only in A\n")
			So(out.String(), ShouldContainSubstring, "pull: only in B\n")
		})

		Convey("that were made otherwise say so", func() {
			b.Options.Concurrency, b.Client.CPUs = 8, a.Client.CPUs+1

			So(strings.Join(Compare(a, b).Notes, "\n"), ShouldContainSubstring, "concurrency differs: 4 and 8")
			So(Compare(a, b).Notes, ShouldHaveLength, 2)
		})
	})
}
