package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"zotregistry.io/zot/internal/zb"
)

func compareCommand() *cobra.Command {
	var percent float64

	cmd := &cobra.Command{
		Use:   "compare <a.json> <b.json>",
		Short: "Compare two reports that --json has written",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := read(args[0])
			if err != nil {
				return err
			}

			b, err := read(args[1])
			if err != nil {
				return err
			}

			c := zb.Compare(a, b)
			if err := c.WriteText(cmd.OutOrStdout()); err != nil {
				return err
			}

			if worse := c.Worse(percent); percent > 0 && len(worse) > 0 {
				return errors.New("worse than before: " + strings.Join(worse, "; "))
			}

			return nil
		},
	}
	cmd.Flags().Float64Var(&percent, "fail", 0, "fail if throughput or p99 is worse by more than so many `percent` (default: never)")

	return cmd
}

func read(path string) (*zb.Report, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()

	report, err := zb.ReadReport(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}

	return report, nil
}
