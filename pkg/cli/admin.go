package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"zotregistry.io/zot/pkg/admin"
	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/audit"
	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/local"
)

// adminUser is who has done what a command does, in records. No user has a space in the
// name.
const adminUser = "zot admin"

// onStores says how a command gets at the stores of a configuration.
type onStores struct {
	streams Streams
	config  string // path of the file; "" = that of `zot serve` without one
	fresh   bool   // the stores may be new
	passive bool   // stores that the command opens itself change nothing by themselves
}

// flag lets the user of a command name the configuration.
func (o *onStores) flag(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVarP(&o.config, "config", "c", "", "the configuration file; without it the data is in "+defaultRoot)

	return cmd
}

// storesCommand completes a command that does one thing with the stores of a configuration, and
// with what was typed behind its name.
func storesCommand(
	streams Streams, cmd *cobra.Command, use func(ctx context.Context, store admin.Store, args []string) error,
) *cobra.Command {
	on := &onStores{streams: streams}

	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return on.do(cmd.Context(), func(store admin.Store) error { return use(cmd.Context(), store, args) })
	}

	return on.flag(cmd)
}

// do calls use with the stores: those of the process that serves them, or where there is
// none, opened for as long as it takes.
func (o *onStores) do(ctx context.Context, use func(admin.Store) error) error {
	var args []string
	if o.config != "" {
		args = []string{o.config}
	}

	cfg, _, err := configure(args)
	if err != nil {
		return err
	}

	err = ask(ctx, cfg.Storage.RootDirectory, use)
	if !errors.Is(err, admin.ErrNobody) {
		return err
	}

	err = o.open(ctx, cfg, use)

	var locked *local.LockedError
	if errors.As(err, &locked) { // it has started meanwhile, or is stopping
		return errors.Join(err, ask(ctx, cfg.Storage.RootDirectory, use))
	}

	return err
}

// ask calls use with what the process that serves root answers.
//
// Errors: admin.ErrNobody.
func ask(ctx context.Context, root string, use func(admin.Store) error) error {
	client, err := admin.Dial(ctx, root)
	if err != nil {
		return err
	}
	defer client.Close()

	return use(client)
}

// open calls use with stores of this process. They do nothing by themselves.
func (o *onStores) open(ctx context.Context, all *config.Config, use func(admin.Store) error) (err error) {
	cfg := all.Storage
	if _, err := os.Stat(cfg.RootDirectory); err != nil && cfg.StorageDriver == nil && !o.fresh {
		return fmt.Errorf("storage.rootDirectory: nothing is kept there: %w", err)
	}

	console := zerolog.ConsoleWriter{Out: o.streams.Err, NoColor: true, PartsExclude: []string{zerolog.TimestampFieldName}}
	log := zerolog.New(console).Level(zerolog.WarnLevel)

	stores, err := openStores(ctx, quietly(cfg), storeMode{passive: o.passive, keepNames: true}, log)
	if err != nil {
		return err
	}

	defer func() { err = errors.Join(err, stores.Close(context.WithoutCancel(ctx))) }()

	kept := &keptStores{stores, cfg, log}
	if all.Log.Audit == "" {
		return use(kept)
	}

	audited := &lateAudit{path: all.Log.Audit, log: log}
	defer func() { err = errors.Join(err, audited.close()) }()

	return use(&auditedStore{kept, audited.open})
}

// quietly returns a configuration of stores that collect only when they are asked to.
func quietly(cfg config.Storage) config.Storage {
	cfg.GC = false
	subs := cfg.SubPaths
	cfg.SubPaths = make(map[string]config.SubPath, len(subs))

	for prefix, sub := range subs {
		sub.GC = false
		cfg.SubPaths[prefix] = sub
	}

	return cfg
}

// listenToCommands has commands find the stores that this process serves. Beside a bucket
// that needs a directory, which may not be there: then they are one more replica. stop ends
// it.
func listenToCommands(
	ctx context.Context, cfg config.Storage, stores *storage.Stores, audited *audit.Log, log zerolog.Logger,
) (stop func(context.Context) error, err error) {
	if _, err := os.Stat(cfg.RootDirectory); err != nil && cfg.StorageDriver != nil {
		return func(context.Context) error { return nil }, nil
	}

	server, err := admin.Listen(ctx, cfg.RootDirectory, withAudit(&keptStores{stores, cfg, log}, audited), log)
	if err != nil {
		return nil, err
	}

	return server.Close, nil
}
