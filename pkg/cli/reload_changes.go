package cli

import (
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/rs/zerolog"

	"zotregistry.io/zot/internal/watch"
	"zotregistry.io/zot/pkg/api/config"
)

// changes tell when something is to be taken in: files were changed, or SIGHUP came.
type changes struct {
	path    string // of the configuration file; "" = there is none
	hangups chan os.Signal
	watcher *watch.Watcher // nil without a file
	failed  error          // why files are only polled
}

// watchChanges watches the configuration file, and takes SIGHUP. The caller calls stop.
func watchChanges(args []string) (c *changes, stop func() error) {
	c = &changes{hangups: make(chan os.Signal, 1)}
	signal.Notify(c.hangups, syscall.SIGHUP)

	if len(args) > 0 {
		c.path = args[0]
		c.watcher, c.failed = watch.New([]string{c.path}, watch.Options{})
	}

	return c, func() error {
		signal.Stop(c.hangups)

		if c.watcher == nil {
			return nil
		}

		return c.watcher.Close()
	}
}

// watch watches the files as well that cfg names.
func (c *changes) watch(cfg *config.Config, log zerolog.Logger) {
	if c.watcher == nil {
		return
	}

	if c.failed != nil {
		log.Warn().Err(c.failed).Msg("the system does not tell when files change: they are looked at every 10 seconds")
	}

	c.watcher.Set(filesOf(c.path, cfg))
}

// files has a value when a file may have changed.
func (c *changes) files() <-chan struct{} {
	if c.watcher == nil {
		return nil
	}

	return c.watcher.Changes()
}

// filesOf returns the configuration file at path, and those that cfg names and that are read
// again.
func filesOf(path string, cfg *config.Config) []string {
	files := []string{path}

	if tls := cfg.HTTP.TLS; tls != nil {
		files = append(files, tls.Cert, tls.Key, tls.CACert)
	}

	ways := cfg.HTTP.Auth

	if ways.HTPasswd != nil {
		files = append(files, ways.HTPasswd.Path)
	}

	if ways.LDAP != nil {
		files = append(files, ways.LDAP.CredentialsFile, ways.LDAP.CACert)
	}

	if ways.Bearer != nil {
		files = append(files, ways.Bearer.Cert)
	}

	return slices.DeleteFunc(files, func(file string) bool { return file == "" })
}
