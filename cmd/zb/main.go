// Zb measures a registry. See docs/zb.md for how, and internal/zb for the code.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

// heapFloor is how much is allocated and never touched, in bytes; it takes no memory. What the
// collector takes from the CPUs that client and registry share would be part of each figure: with
// the floor it runs when there is as much garbage as this, a twentieth of the time.
const heapFloor = 64 << 20

func main() {
	if err := measure(); err != nil {
		fmt.Fprintln(os.Stderr, "zb:", err)
		os.Exit(1)
	}
}

func measure() error {
	defer runtime.KeepAlive(make([]byte, heapFloor))

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	return command().ExecuteContext(ctx)
}
