package cli

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"zotregistry.io/zot/pkg/admin"
	"zotregistry.io/zot/pkg/storage"
)

func backupCommand(streams Streams) *cobra.Command {
	on := &onStores{streams: streams}

	var opts admin.BackupOptions

	cmd := on.flag(&cobra.Command{
		Use:   "backup <directory>",
		Short: "Copy all that is kept to a directory; what is there already is not copied again",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if opts.Dir, err = filepath.Abs(args[0]); err != nil { // another process may do it
				return fmt.Errorf("backup: %w", err)
			}

			return copyStores(cmd.Context(), on, "backup", func(store admin.Store, tell func(storage.Copied)) (storage.Copied, error) {
				return store.Backup(cmd.Context(), opts, tell)
			})
		},
	})
	cmd.Flags().BoolVar(&opts.NewStore, "new-store", false, "go on though a store is new to the backup: what it does not have goes from there")

	return cmd
}

func restoreCommand(streams Streams) *cobra.Command {
	on := &onStores{streams: streams, fresh: true}

	var opts admin.RestoreOptions

	cmd := on.flag(&cobra.Command{
		Use:   "restore <directory> [repository ...]",
		Short: "Bring back what a backup holds: all of it, or some repositories",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if opts.Dir, err = filepath.Abs(args[0]); err != nil {
				return fmt.Errorf("restore: %w", err)
			}

			for _, arg := range args[1:] {
				name, err := storage.ParseRepoName(arg)
				if err != nil {
					return fmt.Errorf("restore: %w", err)
				}

				opts.Repos = append(opts.Repos, name)
			}

			return copyStores(cmd.Context(), on, "restore", func(store admin.Store, tell func(storage.Copied)) (storage.Copied, error) {
				return store.Restore(cmd.Context(), opts, tell)
			})
		},
	})
	cmd.Flags().BoolVar(&opts.Exact, "exact", false, "remove tags and manifests that the backup does not have")

	return cmd
}

// copyStores runs a copy, shows how far it is, and says what it has done.
func copyStores(
	ctx context.Context, on *onStores, what string,
	run func(store admin.Store, tell func(storage.Copied)) (storage.Copied, error),
) error {
	shown := newProgress(on.streams.Err)

	return on.do(ctx, func(store admin.Store) error {
		done, err := run(store, func(at storage.Copied) {
			shown.show(at.Repos, at.Of, fmt.Sprintf("%d of %d repositories, %s sent", at.Repos, at.Of, sizeOf(at.Bytes)))
		})

		shown.end()

		if ctx.Err() != nil {
			return fmt.Errorf("%s: interrupted; the same command goes on", what)
		}

		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}

		fmt.Fprintf(on.streams.Out, "%s of %d repositories is done: %s in %d blobs and %d manifests sent, %d blobs shared, %d tags set, %d removed\n",
			what, done.Repos, sizeOf(done.Bytes), done.Blobs, done.Manifests, done.Shared, done.Tags, done.Removed)

		return nil
	})
}
