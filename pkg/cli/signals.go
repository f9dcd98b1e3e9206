package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// OnSignals returns a context that ends with the first SIGTERM or SIGINT; with the
// second, at once is called, which should end the process. stop ends the watch.
func OnSignals(ctx context.Context, atOnce func()) (_ context.Context, stop func()) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)

	ctx, cancel := context.WithCancel(ctx)
	stopped, done := make(chan struct{}), make(chan struct{})

	go func() {
		defer close(done)
		firstAndSecond(signals, stopped, cancel, atOnce)
	}()

	return ctx, func() {
		signal.Stop(signals)
		close(stopped)
		<-done
		cancel()
	}
}

// firstAndSecond calls first and second when the first and the second signal come,
// until stopped is closed.
func firstAndSecond(signals <-chan os.Signal, stopped <-chan struct{}, first, second func()) {
	for _, do := range []func(){first, second} {
		select {
		case <-signals:
			do()
		case <-stopped:
			return
		}
	}
}
