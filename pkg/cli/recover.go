package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"zotregistry.io/zot/pkg/admin"
	"zotregistry.io/zot/pkg/storage"
)

func undeleteCommand(streams Streams) *cobra.Command {
	return storesCommand(streams, &cobra.Command{
		Use:   "undelete <repository>[@<digest>]",
		Short: "Bring back a manifest that was deleted, or a whole repository, with the tags",
		Args:  cobra.ExactArgs(1),
	}, func(ctx context.Context, store admin.Store, args []string) error {
		return undelete(ctx, streams, store, args[0])
	})
}

func undelete(ctx context.Context, streams Streams, store admin.Store, arg string) error {
	var (
		repo storage.RepoName
		dgst digest.Digest
		err  error
	)

	if strings.Contains(arg, "@") {
		repo, dgst, err = parseDigested(arg)
	} else {
		repo, err = storage.ParseRepoName(arg)
	}

	if err != nil {
		return err
	}

	done, err := store.Undelete(ctx, repo, dgst, adminUser)
	if err != nil {
		return fmt.Errorf("undelete %s: %w", arg, err)
	}

	for _, dgst := range done.Manifests {
		fmt.Fprintf(streams.Out, "%s@%s is back\n", repo, dgst)
	}

	for _, tag := range done.Tags {
		fmt.Fprintf(streams.Out, "%s:%s is back\n", repo, tag)
	}

	for _, tag := range done.Taken {
		fmt.Fprintf(streams.Out, "%s:%s was set since, and stays as it is\n", repo, tag)
	}

	return nil
}

func repoCommand(streams Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use: "repo", Short: "Delete a repository", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(storesCommand(streams, &cobra.Command{
		Use:   "delete <repository>",
		Short: "Delete all manifests and tags of a repository; zot undelete brings them back for a while",
		Args:  cobra.ExactArgs(1),
	}, func(ctx context.Context, store admin.Store, args []string) error {
		return deleteRepo(ctx, streams, store, args[0])
	}))

	return cmd
}

func deleteRepo(ctx context.Context, streams Streams, store admin.Store, arg string) error {
	repo, err := storage.ParseRepoName(arg)
	if err != nil {
		return err
	}

	if err := store.DeleteRepo(ctx, repo, adminUser); err != nil {
		return fmt.Errorf("delete %s: %w", repo, err)
	}

	_, err = fmt.Fprintf(streams.Out, "%s is deleted; for a while it can be brought back: zot undelete %[1]s\n", repo)

	return err
}
