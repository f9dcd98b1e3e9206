package cli

import (
	"os"
	"syscall"
	"testing"

	. "github.com/smartystreets/goconvey/convey"
)

func TestSignals(t *testing.T) {
	Convey("The first signal asks to stop, the second stops at once, a third does nothing", t, func() {
		signals := make(chan os.Signal, 3)

		var calls []string

		for range 3 {
			signals <- syscall.SIGTERM
		}

		firstAndSecond(signals, nil,
			func() { calls = append(calls, "first") }, func() { calls = append(calls, "second") })

		So(calls, ShouldResemble, []string{"first", "second"})
	})

	Convey("SIGTERM ends the context", t, func() {
		ctx, stop := OnSignals(t.Context(), func() { t.Error("stopped at once") })
		defer stop()

		So(syscall.Kill(os.Getpid(), syscall.SIGTERM), ShouldBeNil)
		<-ctx.Done()
	})

	Convey("The watch ends without any signal", t, func() {
		ctx, stop := OnSignals(t.Context(), func() { t.Error("stopped at once") })
		stop()

		So(ctx.Err(), ShouldNotBeNil)
	})
}
