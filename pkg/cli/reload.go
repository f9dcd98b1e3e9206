package cli

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/audit"
	"zotregistry.io/zot/pkg/storage"
)

// retryEvery is how often what was refused is looked at again: a file that was not there may
// have come, which nobody watches for.
const retryEvery = 10 * time.Second

// reloader takes in what is changed while zot serves (docs/reload.md).
type reloader struct {
	changes *changes
	cfg     *config.Config // what is in force
	log     *openedLog
	audit   *audit.Log // nil = there is none
	server  reloadable
	stores  *storage.Stores
	outcome *reloadOutcome

	refused string    // why the last try was refused; "" = it was not
	warned  []Warning // of the last file that was taken in
}

// reloadable is what a reloader needs of an api.Server.
type reloadable interface {
	Reload(cfg config.HTTP) error
}

// startReloads takes in changes until stop is called or ctx ends.
func startReloads(ctx context.Context, r *reloader) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})

	go func() {
		defer close(done)
		r.run(ctx)
	}()

	return func() {
		cancel()
		<-done
	}
}

func (r *reloader) run(ctx context.Context) {
	retry := time.NewTicker(retryEvery)
	defer retry.Stop()

	for {
		select {
		case <-ctx.Done():
			return
		case <-r.changes.hangups:
			r.reopen()
			r.refused = "" // who asks is told again
			r.reload()
		case <-r.changes.files():
			r.refused = ""
			r.reload()
		case <-retry.C:
			if r.refused != "" {
				r.reload()
			}
		}
	}
}

// reopen goes on in new files of logs, after logrotate has renamed the old ones.
func (r *reloader) reopen() {
	err := r.log.Reopen()

	if r.audit != nil {
		err = errors.Join(err, r.audit.Reopen())
	}

	if err != nil {
		r.log.Error().Err(err).Msg("could not open a log anew: lines go to the old file")

		return
	}

	r.log.Info().Msg("logs are opened anew")
}

// reload takes the configuration file in, with all files that it names.
func (r *reloader) reload() {
	if r.changes.path == "" {
		return
	}

	next, warnings, err := Load(r.changes.path)
	if err != nil {
		r.refuse(err)

		return
	}

	merged := merge(r.cfg, next)

	// Before they are read: what changes after that is told of.
	r.changes.watcher.Set(filesOf(r.changes.path, merged))

	if err := r.server.Reload(merged.HTTP); err != nil {
		r.refuse(err)

		return
	}

	r.stores.SetGC(gcOf(merged.Storage.Store), gcOfSubPaths(merged.Storage.SubPaths))

	if err := r.log.SetLevel(merged.Log.Level); err != nil {
		r.log.Error().Err(err).Msg("could not change the level of the log")
	}

	r.outcome.succeed()
	r.tell(merged, next, warnings)
	r.cfg, r.warned, r.refused = merged, warnings, ""
}

// refuse says all that is wrong, unless it is what was wrong before.
func (r *reloader) refuse(err error) {
	r.outcome.fail()

	if err.Error() == r.refused {
		return
	}

	r.refused = err.Error()

	var mistakes Mistakes
	if !errors.As(err, &mistakes) {
		key, _, found := strings.Cut(err.Error(), ": ")
		if !found || strings.ContainsAny(key, " /") {
			key = ""
		}

		r.log.Error().Str("key", key).Err(err).Msg("configuration refused: what was in force stays")

		return
	}

	for i, line := range mistakes.lines() {
		event := r.log.Error()
		if i < len(mistakes) {
			event = event.Str("key", mistakes[i].Path)
		}

		event.Str("mistake", line).Msg("wrong in the configuration")
	}

	r.log.Error().Str("file", r.changes.path).Int("mistakes", len(mistakes)).
		Msg("configuration refused: what was in force stays")
}

// tell says what has changed, and what will with a restart.
func (r *reloader) tell(merged, next *config.Config, warnings []Warning) {
	for _, warning := range warnings {
		if !slices.Contains(r.warned, warning) {
			r.log.Warn().Str("key", warning.Path).Msg(warning.Text)
		}
	}

	for _, key := range differences(merged, next) {
		event := r.log.Warn().Str("key", key)
		if with := heldWith(key, r.cfg, next); len(with) > 0 {
			event = event.Strs("with", with)
		}

		event.Msg("needs a restart: what was in force stays")
	}

	r.log.Info().Str("file", r.changes.path).Strs("changed", differences(r.cfg, merged)).
		Msg("configuration reloaded")
}
