package zb

import (
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	. "github.com/smartystreets/goconvey/convey"
)

func TestUsage(t *testing.T) {
	Convey("A process is found by the port on which it listens, if the system tells", t, func() {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		So(err, ShouldBeNil)

		pid, err := listener(l.Addr().(*net.TCPAddr).Port)
		So(l.Close(), ShouldBeNil)

		if runtime.GOOS == "linux" {
			So(err, ShouldBeNil)
			So(pid, ShouldEqual, os.Getpid())
		} else {
			So(err, ShouldNotBeNil)
		}
	})

	Convey("What a test takes is measured", t, func() {
		watched := 0
		if runtime.GOOS == "linux" {
			watched = os.Getpid()
		}

		m, err := startMeter(t.Context(), watched)
		So(err, ShouldBeNil)
		So(touch(10*mb), ShouldBeNil)

		for begun, err := ownCPU(); ; { // until it has used some
			So(err, ShouldBeNil)

			now, err := ownCPU()
			So(err, ShouldBeNil)

			if now-begun > 50*time.Millisecond {
				break
			}
		}

		u, err := m.end(10)
		So(err, ShouldBeNil)
		So(u.client.CPUSeconds, ShouldBeGreaterThanOrEqualTo, 0.05)
		So(u.client.CPUPerOp, ShouldAlmostEqual, u.client.CPUSeconds*100, 0.001)

		if watched != 0 {
			So(u.server.CPUSeconds, ShouldBeGreaterThan, 0)
			So(u.server.MemoryPeak, ShouldBeGreaterThanOrEqualTo, u.server.MemoryBefore)
			So(u.server.MemoryBefore, ShouldBeGreaterThan, mb)
			So(u.idleCores, ShouldBeGreaterThanOrEqualTo, 0)
			So(available(), ShouldBeGreaterThan, mb)
		}
	})

	Convey("A line of /proc/net/tcp", t, func() {
		const line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0 100 0 0 10 0"

		So(listening(line, 8080), ShouldEqual, "4242")
		So(listening(line, 8081), ShouldBeEmpty)
		So(listening("  sl  local_address rem_address   st", 8080), ShouldBeEmpty)
	})
}

func TestLimits(t *testing.T) {
	Convey("It is said whose limit was reached", t, func() {
		all := float64(runtime.NumCPU())

		So(busy(usages{client: Usage{Cores: float64(cores())}, idleCores: -1}), ShouldEqual, clientCPU)
		So(busy(usages{client: Usage{Cores: all * 0.5}, server: &Usage{Cores: all * 0.4}, idleCores: 0}), ShouldEqual, sharedCPU)
		So(busy(usages{client: Usage{Cores: all * 0.1}, server: &Usage{Cores: all * 0.1}, idleCores: 0}), ShouldEqual, othersCPU)
		So(busy(usages{client: Usage{Cores: all * 0.1}, server: &Usage{Cores: all * 0.1}, idleCores: all * 0.8}), ShouldBeEmpty)
		So(busy(usages{client: Usage{Cores: all * 0.1}, idleCores: -1}), ShouldBeEmpty)

		found := limits(&Result{Operations: 8, Failed: 2, Queued: 5}, usages{idleCores: -1}, 2*time.Millisecond)
		So(found, ShouldResemble, []Limit{{clientLate, "one in a hundred by 2.00 ms or more"}, {noFreeAsker, "5 of 10"}})
	})
}
