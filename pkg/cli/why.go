package cli

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"zotregistry.io/zot/pkg/admin"
)

func whyCommand(streams Streams) *cobra.Command {
	asJSON := false

	cmd := storesCommand(streams, &cobra.Command{
		Use:   "why <repository>@<digest>",
		Short: "Say why a manifest or a blob is kept, or when it goes",
		Args:  cobra.ExactArgs(1),
	}, func(ctx context.Context, store admin.Store, args []string) error {
		return why(ctx, streams, store, args[0], asJSON)
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "for programs")

	return cmd
}

func why(ctx context.Context, streams Streams, store admin.Store, arg string, asJSON bool) error {
	repo, dgst, err := parseDigested(arg)
	if err != nil {
		return err
	}

	explanation, err := store.Why(ctx, repo, dgst)
	if err != nil {
		return fmt.Errorf("why %s: %w", arg, err)
	}

	if asJSON {
		return json.NewEncoder(streams.Out).Encode(explanation)
	}

	_, err = fmt.Fprintln(streams.Out, explanation)

	return err
}
