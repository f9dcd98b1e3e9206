// Zot is a registry of container images. See pkg/cli for its commands.
package main

import (
	"context"
	"errors"
	"os"

	"zotregistry.io/zot/pkg/cli"
)

func main() { os.Exit(run()) }

// run returns the exit status.
func run() int {
	ctx, stop := cli.OnSignals(context.Background(), func() {
		cli.Report(os.Stderr, errors.New("stopped at once by a second signal"))
		os.Exit(1)
	})
	defer stop()

	if err := cli.Run(ctx, os.Args[1:], cli.Streams{Out: os.Stdout, Err: os.Stderr}); err != nil {
		cli.Report(os.Stderr, err)

		return cli.Status(err)
	}

	return 0
}
