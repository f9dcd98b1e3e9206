package cli

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"zotregistry.io/zot/pkg/admin"
	"zotregistry.io/zot/pkg/storage"
)

func gcCommand(streams Streams) *cobra.Command {
	return storesCommand(streams, &cobra.Command{
		Use:   "gc",
		Short: "Remove what nobody needs now, instead of when it is due",
		Args:  cobra.NoArgs,
	}, func(ctx context.Context, store admin.Store, _ []string) error {
		return collect(ctx, streams, store)
	})
}

func collect(ctx context.Context, streams Streams, store admin.Store) error {
	done, err := store.Collect(ctx)
	if err != nil {
		return fmt.Errorf("collect: %w", err)
	}

	return printCollected(streams, done)
}

func printCollected(streams Streams, done storage.Collected) error {
	table := tabwriter.NewWriter(streams.Out, 0, 0, 2, ' ', 0)

	for _, row := range []struct {
		what string
		n    int
	}{
		{"repositories looked at", done.Repos},
		{"tags removed", done.Tags},
		{"manifests removed", done.Manifests},
		{"deleted manifests forgotten", done.Forgotten},
		{"blobs kept for a while", done.Kept},
		{"blobs freed", done.Blobs},
		{"uploads dropped", done.Uploads},
		{"empty repositories removed", done.Emptied},
	} {
		fmt.Fprintf(table, "%s\t%d\n", row.what, row.n)
	}

	fmt.Fprintf(table, "bytes freed\t%d\n", done.Bytes)

	return table.Flush()
}
