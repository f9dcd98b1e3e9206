package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"zotregistry.io/zot/pkg/api"
	"zotregistry.io/zot/pkg/api/config"
)

// defaultRoot is where images are kept if there is no configuration file.
const defaultRoot = "./zot-data"

func serveCommand(streams Streams) *cobra.Command {
	return &cobra.Command{
		Use:   "serve [config]",
		Short: "Serve images; without a file, on defaults with the data in " + defaultRoot,
		Args:  atMostOneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			return serve(cmd.Context(), streams, args)
		},
	}
}

func atMostOneFile(_ *cobra.Command, args []string) error {
	if len(args) > 1 {
		return fmt.Errorf("serve takes at most one configuration file, as in: zot serve config.json")
	}

	return nil
}

// serve serves until ctx ends, and returns when all requests are answered and all
// stores are closed.
func serve(ctx context.Context, streams Streams, args []string) (err error) {
	changes, stopWatch := watchChanges(args) // from the beginning: none is missed
	defer func() { err = errors.Join(err, stopWatch()) }()

	cfg, warnings, err := configure(args)
	if err != nil {
		return err
	}

	log, err := openLog(cfg.Log, streams.Out)
	if err != nil {
		return err
	}

	defer func() { err = errors.Join(err, log.Close()) }()

	log.Info().Str("version", currentBuild().version).Str("commit", currentBuild().commit).Msg("starting")

	if len(args) == 0 {
		log.Info().Str("root", defaultRoot).Msg("no configuration file was named: serving on defaults")
	}

	for _, warning := range warnings {
		log.Warn().Str("key", warning.Path).Msg(warning.Text)
	}

	limitMemory(os.DirFS("/"), log.Logger)

	err = run(ctx, cfg, log, changes)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		log.Info().Msg("stopped before the start was over")

		return nil
	}

	return err
}

// configure loads the file that args name, or else the defaults.
func configure(args []string) (*config.Config, []Warning, error) {
	if len(args) == 0 {
		cfg := config.Default()
		cfg.Storage.RootDirectory = defaultRoot

		return (&file{cfg: cfg}).check()
	}

	cfg, warnings, err := Load(args[0])
	if err != nil {
		return nil, warnings, named(args[0], err)
	}

	return cfg, warnings, nil
}

// heapFloor is how much is allocated and never touched, in bytes; it takes no memory. The
// collector runs when the heap has doubled: with it not for less garbage than this, which saves
// 5 to 10 % of the CPU time of a small request.
const heapFloor = 16 << 20

// run opens the stores, serves them, and closes them.
func run(ctx context.Context, cfg *config.Config, opened *openedLog, changes *changes) (err error) {
	log := opened.Logger

	defer runtime.KeepAlive(make([]byte, heapFloor))

	stores, err := openStores(ctx, cfg.Storage, servingMode(cfg.Extensions), log)
	if err != nil {
		return err
	}

	// What is written at the end is written although ctx is over.
	after := context.WithoutCancel(ctx)

	defer func() { err = errors.Join(err, closeStores(after, stores, log)) }()

	audited, closeAudit, err := openAudit(cfg.Log.Audit, log)
	if err != nil {
		return err
	}

	defer func() { err = errors.Join(err, closeAudit()) }()

	stopCommands, err := listenToCommands(ctx, cfg.Storage, stores, audited, log)
	if err != nil {
		return err
	}

	defer func() { err = errors.Join(err, stopCommands(after)) }()

	changes.watch(cfg, log)

	outcome := newReloadOutcome()

	server, err := api.New(cfg.HTTP, stores, log,
		withMetrics(cfg.Extensions.Metrics, stores, audited, outcome, log), api.WithAudit(audited),
		api.WithUploadLife(longestDelay(cfg.Storage)))
	if err != nil {
		return err
	}

	address, err := server.Listen()
	if err != nil {
		return err
	}

	log.Info().Stringer("address", address).Bool("tls", cfg.HTTP.TLS != nil).Msg("listening")

	stopReloads := startReloads(ctx, &reloader{
		changes: changes, cfg: cfg, log: opened, audit: audited, server: server, stores: stores,
		outcome: outcome,
	})
	defer stopReloads()

	return serveUntil(ctx, server, log)
}

// longestDelay is the longest gcDelay of all stores.
func longestDelay(cfg config.Storage) time.Duration {
	longest := cfg.GCDelay
	for _, sub := range cfg.SubPaths {
		longest = max(longest, sub.GCDelay)
	}

	return longest
}

// listener is what serveUntil needs of an api.Server.
type listener interface {
	Serve() error
	Shutdown(ctx context.Context) error
}

// serveUntil serves until ctx ends, then answers what is under way. It takes as long
// as that takes: a client that stalls is dropped by the server, and a second signal
// ends the process.
func serveUntil(ctx context.Context, server listener, log zerolog.Logger) error {
	served := make(chan error, 1)

	go func() { served <- server.Serve() }()

	select {
	case err := <-served: // it failed; requests may be under way all the same
		return errors.Join(err, server.Shutdown(context.WithoutCancel(ctx)))
	case <-ctx.Done():
	}

	log.Info().Msg("stopping: answering the requests under way; a second signal stops at once")

	err := server.Shutdown(context.WithoutCancel(ctx))

	return errors.Join(err, <-served)
}
