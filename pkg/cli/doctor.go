package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/storage/s3"
)

func doctorCommand(streams Streams) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor <config>",
		Short: "Find out what the buckets of a configuration file can do, and change nothing",
		Args:  oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			return doctor(cmd.Context(), streams.Out, args[0])
		},
	}
}

// doctor prints a table for each store. It fails if zot would not start.
func doctor(ctx context.Context, out io.Writer, path string) error {
	cfg, _, err := Load(path)
	if err != nil {
		return named(path, err)
	}

	errs := []error{examine(ctx, out, "storage", cfg.Storage.Store)}

	for _, prefix := range sortedNames(cfg.Storage.SubPaths) {
		errs = append(errs, examine(ctx, out, storePath(prefix), cfg.Storage.SubPaths[prefix].Store))
	}

	return errors.Join(errs...)
}

// examine looks at one store; path is its key.
func examine(ctx context.Context, out io.Writer, path string, cfg config.Store) error {
	if cfg.StorageDriver == nil {
		_, err := fmt.Fprintf(out, "%s: the directory %s; it needs nothing\n", path, cfg.RootDirectory)

		return err
	}

	opts, err := s3Options(cfg, zerolog.Nop())
	if err != nil {
		return fmt.Errorf("%s.storageDriver: %w", path, err)
	}

	report, err := s3.Probe(ctx, opts)
	if err != nil {
		return atKey(path, err)
	}

	if err := printReport(out, path, opts.Bucket, report); err != nil {
		return err
	}

	if missing := report.Missing(cfg.SingleWriter); len(missing) > 0 {
		return fmt.Errorf("%s.storageDriver: zot does not start on this bucket: it cannot do what says NO above", path)
	}

	return nil
}

func printReport(out io.Writer, path, bucket string, report s3.Report) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "%s: the bucket %s\n", path, bucket)

	for _, ability := range report {
		verdict := "yes"
		if !ability.OK {
			verdict = "NO: " + ability.Problem
		}

		fmt.Fprintf(table, "  %s\t%s\t%s\n", ability.Name, verdict, ability.Why)
	}

	return table.Flush()
}
