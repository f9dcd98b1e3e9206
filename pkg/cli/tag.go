package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"zotregistry.io/zot/pkg/admin"
	"zotregistry.io/zot/pkg/storage"
)

func tagCommand(streams Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use: "tag", Short: "See what has happened to a tag, and take it back", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(tagHistoryCommand(streams), tagUndoCommand(streams))

	return cmd
}

// historyOptions are the flags of zot tag history.
type historyOptions struct {
	n    int
	json bool
}

func tagHistoryCommand(streams Streams) *cobra.Command {
	var opts historyOptions

	cmd := storesCommand(streams, &cobra.Command{
		Use:   "history <repository>:<tag>",
		Short: "List what a tag has pointed to, since when, and who has set it; the newest first",
		Args:  cobra.ExactArgs(1),
	}, func(ctx context.Context, store admin.Store, args []string) error {
		return tagHistory(ctx, streams, store, args[0], opts)
	})
	cmd.Flags().IntVarP(&opts.n, "number", "n", -1, "of events at most; -1 = all")
	cmd.Flags().BoolVar(&opts.json, "json", false, "for programs")

	return cmd
}

func tagHistory(ctx context.Context, streams Streams, store admin.Store, arg string, opts historyOptions) error {
	repo, tag, err := parseTagged(arg)
	if err != nil {
		return err
	}

	events, _, err := store.TagHistory(ctx, repo, tag, 0, opts.n)
	if err != nil {
		return fmt.Errorf("history of %s: %w", arg, err)
	}

	if opts.json {
		return json.NewEncoder(streams.Out).Encode(events)
	}

	table := tabwriter.NewWriter(streams.Out, 0, 0, 2, ' ', 0)

	for _, event := range events {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", event.Time.UTC().Format(time.RFC3339), event.Action,
			cmp.Or(string(event.Digest), "was "+cmp.Or(string(event.Before), "unknown")), cmp.Or(event.Who, "anonymous"))
	}

	return table.Flush()
}

func tagUndoCommand(streams Streams) *cobra.Command {
	return storesCommand(streams, &cobra.Command{
		Use:   "undo <repository>:<tag>",
		Short: "Take back the last change of a tag; once more takes back the undo",
		Args:  cobra.ExactArgs(1),
	}, func(ctx context.Context, store admin.Store, args []string) error {
		return tagUndo(ctx, streams, store, args[0])
	})
}

func tagUndo(ctx context.Context, streams Streams, store admin.Store, arg string) error {
	repo, tag, err := parseTagged(arg)
	if err != nil {
		return err
	}

	event, err := store.UndoTag(ctx, repo, tag, adminUser)
	if err != nil {
		return fmt.Errorf("undo %s: %w", arg, err)
	}

	if event.Action == storage.TagDeleted {
		_, err = fmt.Fprintf(streams.Out, "%s is gone, as it was before; it pointed to %s\n", arg, event.Before)
	} else {
		_, err = fmt.Fprintf(streams.Out, "%s points to %s again\n", arg, event.Digest)
	}

	return err
}
