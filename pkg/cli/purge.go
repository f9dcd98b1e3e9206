package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"zotregistry.io/zot/pkg/admin"
	"zotregistry.io/zot/pkg/storage"
)

func purgeCommand(streams Streams) *cobra.Command {
	var opts storage.PurgeOptions

	cmd := storesCommand(streams, &cobra.Command{
		Use:   "purge <repository>@<digest>",
		Short: "Remove a manifest or a blob at once and for ever, as a secret that has leaked",
		Args:  cobra.ExactArgs(1),
	}, func(ctx context.Context, store admin.Store, args []string) error {
		return purge(ctx, streams, store, args[0], opts)
	})
	cmd.Flags().BoolVar(&opts.Force, "force", false, "remove the manifests that name it, too, and their tags")
	cmd.Flags().BoolVar(&opts.Everywhere, "everywhere", false, "remove it from all repositories of the store")

	return cmd
}

func purge(ctx context.Context, streams Streams, store admin.Store, arg string, opts storage.PurgeOptions) error {
	repo, dgst, err := parseDigested(arg)
	if err != nil {
		return err
	}

	done, err := store.Purge(ctx, repo, dgst, opts, adminUser)
	if errors.Is(err, storage.ErrInUse) {
		return fmt.Errorf("purge %s: %w; --force removes these manifests and their tags, too", arg, err)
	}

	if err != nil {
		return fmt.Errorf("purge %s: %w", arg, err)
	}

	for _, tag := range done.Tags {
		fmt.Fprintf(streams.Out, "tag %s is gone\n", tag)
	}

	for _, dgst := range done.Manifests {
		fmt.Fprintf(streams.Out, "manifest %s is gone\n", dgst)
	}

	for _, dgst := range done.Blobs {
		fmt.Fprintf(streams.Out, "the bytes of %s are gone\n", dgst)
	}

	for _, other := range done.Others {
		fmt.Fprintf(streams.Out, "%s still holds %s; --everywhere removes it there, too\n", other, dgst)
	}

	return nil
}
