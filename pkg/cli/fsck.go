package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"zotregistry.io/zot/pkg/admin"
	"zotregistry.io/zot/pkg/storage"
)

// Exit statuses of fsck and scrub.
const (
	statusProblems  = 1 // something is not as it should be
	statusUnchecked = 2 // it could not be told
)

// StatusError is a failure with an exit status of its own.
type StatusError struct {
	Status int
	Err    error
}

func (e *StatusError) Error() string { return e.Err.Error() }

// Unwrap returns what has failed.
func (e *StatusError) Unwrap() error { return e.Err }

// Status is the exit status that a failure stands for.
func Status(err error) int {
	var with *StatusError

	switch {
	case err == nil:
		return 0
	case errors.As(err, &with):
		return with.Status
	default:
		return 1
	}
}

func fsckCommand(streams Streams) *cobra.Command {
	var (
		on     = &onStores{streams: streams, passive: true}
		opts   storage.CheckOptions
		asJSON bool
	)

	cmd := on.flag(&cobra.Command{
		Use:   "fsck",
		Short: "Check that all that is kept is whole, and mend what is not",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return examineStores(cmd.Context(), on, asJSON, func(store admin.Store, tell func(storage.CheckProgress)) (storage.CheckReport, error) {
				return store.Check(cmd.Context(), opts, tell)
			})
		},
	})
	cmd.Flags().BoolVar(&opts.Repair, "repair", false, "mend what can be mended; what is damaged goes to _quarantine/")
	cmd.Flags().BoolVar(&opts.Quick, "quick", false, "do not read blobs, only look whether they are there")
	cmd.Flags().BoolVar(&opts.FromStart, "from-start", false, "do not go on where the last run was broken off")
	cmd.Flags().BoolVar(&asJSON, "json", false, "for programs")

	return cmd
}

func scrubCommand(streams Streams) *cobra.Command {
	var (
		on     = &onStores{streams: streams, passive: true}
		opts   storage.ScrubOptions
		rate   int
		asJSON bool
	)

	cmd := on.flag(&cobra.Command{
		Use:   "scrub",
		Short: "Read all blobs again, and stop serving those that are damaged",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts.Rate = int64(rate) << 20

			return examineStores(cmd.Context(), on, asJSON, func(store admin.Store, tell func(storage.CheckProgress)) (storage.CheckReport, error) {
				return store.Scrub(cmd.Context(), opts, tell)
			})
		},
	})
	cmd.Flags().IntVar(&rate, "rate", defaultScrubRate>>20, "MiB that are read in a second at the most; 0 for any")
	cmd.Flags().BoolVar(&opts.FromStart, "from-start", false, "do not go on where the last run was broken off")
	cmd.Flags().BoolVar(&asJSON, "json", false, "for programs")

	return cmd
}

// defaultScrubRate is what a disk does beside its work, in bytes a second.
const defaultScrubRate = 64 << 20

// examineStores runs a check, and prints findings as they come and then the sums, or all of
// it as JSON.
func examineStores(
	ctx context.Context, on *onStores, asJSON bool,
	run func(store admin.Store, tell func(storage.CheckProgress)) (storage.CheckReport, error),
) error {
	var report storage.CheckReport

	shown := newProgress(on.streams.Err)
	out := on.streams.Out

	if asJSON {
		out = io.Discard
	}

	err := on.do(ctx, func(store admin.Store) (err error) {
		report, err = run(store, func(p storage.CheckProgress) {
			if p.Finding == nil {
				text := fmt.Sprintf("%s: %d of %d repositories, %d blobs, %s", p.Phase, p.Done, p.Total, p.Blobs, sizeOf(p.Bytes))
				if !shown.terminal { // where it may be too long for a line
					text += ", at " + p.At
				}

				shown.show(p.Done, p.Total, text)

				return
			}

			shown.clear()
			fmt.Fprintln(out, p.Finding)
		})

		return err
	})

	shown.clear()

	if err != nil {
		err = &StatusError{statusUnchecked, fmt.Errorf("could not check everything: %w", err)}
	}

	if asJSON {
		return errors.Join(json.NewEncoder(on.streams.Out).Encode(report), err, verdict(report, err))
	}

	if err == nil {
		printChecked(on.streams.Out, report)
	}

	return errors.Join(err, verdict(report, err))
}

func printChecked(out io.Writer, report storage.CheckReport) {
	fmt.Fprintf(out, "%d repositories, %d manifests, %d blobs read (%d bytes): %d problems, %d mended, %d not to be told, %d notices\n",
		report.Repos, report.Manifests, report.Blobs, report.Bytes, report.Problems, report.Mended, report.Unchecked, report.Notices)
}

// verdict is the failure that a report stands for, if none was told.
func verdict(report storage.CheckReport, failed error) error {
	switch {
	case failed != nil:
		return nil //nolint:nilerr // it was told
	case report.Unchecked > 0:
		return &StatusError{statusUnchecked, fmt.Errorf("%d things could not be checked", report.Unchecked)}
	case report.Problems > 0:
		return &StatusError{statusProblems, fmt.Errorf("%d problems", report.Problems)}
	}

	return nil
}
