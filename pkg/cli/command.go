package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// Streams is what a command reads and writes besides files.
type Streams struct {
	Out io.Writer // results, and the log of serve
	Err io.Writer // mistakes and warnings
}

// Run runs the command that args name, and returns when it is done. The end of ctx
// asks serve to stop. A failure was not yet printed: see Report.
func Run(ctx context.Context, args []string, streams Streams) error {
	root := rootCommand(streams) //nolint:contextcheck // cobra hands it to the commands
	root.SetArgs(args)

	return root.ExecuteContext(ctx)
}

// Report prints a failure, a line for each thing that is wrong. There is nowhere to
// say that this failed.
func Report(w io.Writer, err error) {
	for text := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintln(w, "zot: "+text)
	}
}

func rootCommand(streams Streams) *cobra.Command {
	root := &cobra.Command{
		Use:           "zot",
		Short:         "zot is a registry of container images",
		SilenceErrors: true, // main prints them
		SilenceUsage:  true, // a failure is one line, not a page
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}

	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	root.CompletionOptions.DisableDefaultCmd = true
	root.DisableSuggestions = true // they are several lines
	root.AddCommand(serveCommand(streams), verifyCommand(streams), doctorCommand(streams), versionCommand(streams))
	root.AddCommand(gcCommand(streams), whyCommand(streams), tagCommand(streams), undeleteCommand(streams),
		repoCommand(streams), purgeCommand(streams))
	root.AddCommand(backupCommand(streams), restoreCommand(streams), fsckCommand(streams), scrubCommand(streams))

	return root
}
