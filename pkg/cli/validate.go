package cli

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"zotregistry.io/zot/pkg/api/config"
)

// check is the rules being applied to one configuration. The methods named after a
// section are in the file validate_<section>.go.
type check struct {
	cfg      *config.Config
	set      map[string]bool // paths of the keys that the file has
	broken   findings        // in names and types, found before
	mistakes findings        // found by the rules
	warnings []Warning
}

func newCheck(f *file) *check {
	return &check{cfg: f.cfg, set: f.set, broken: newFindings(f.mistakes...), mistakes: newFindings()}
}

func (c *check) all() {
	c.top()
	c.storage()
	c.roots()
	c.http()
	c.tls()
	c.auth()
	c.accessControl()
	c.extensions()
	c.sync()
}

// wrong adds a mistake. What only follows from a value that is not there, since it had
// the wrong type, is no help to anyone.
func (c *check) wrong(path, problem, remedy string) {
	if c.broken.cover(path) {
		return
	}

	c.mistakes.add(Mistake{Path: path, Problem: problem, Remedy: remedy})
}

func (c *check) warn(path, format string, args ...any) {
	c.warnings = append(c.warnings, Warning{Path: path, Text: fmt.Sprintf(format, args...)})
}

// refuse refuses a key that is known but not built yet, where going on without it
// would be less safe than the file asks for.
func (c *check) refuse(path, remedy string) {
	c.wrong(path, "is known, but not built yet in this version of zot", remedy)
}

// ignored warns of a key that is known but not built yet.
func (c *check) ignored(path string) {
	c.warn(path, "is known, but not built yet in this version of zot; it has no effect")
}

func (c *check) top() {
	cfg := c.cfg

	if cfg.DistSpecVersion != config.DistSpecVersion {
		c.warn("distSpecVersion", "is %q; zot speaks %s, whatever is set", cfg.DistSpecVersion, config.DistSpecVersion)
	}

	if c.set["scheduler"] {
		c.ignored("scheduler")
		c.notNegative("scheduler.numWorkers", cfg.Scheduler.NumWorkers)
	}

	if cfg.Cluster != nil {
		c.warn("cluster", "has no effect: members need no sharding, each can serve all repositories")
	}

	c.log()
}

func (c *check) log() {
	log := c.cfg.Log

	c.oneOf("log.level", strings.ToLower(log.Level), "debug", "info", "warn", "error")

	if log.Output != "" {
		c.writable("log.output", log.Output)
	}

	if log.Audit != "" {
		c.writable("log.audit", log.Audit)
	}
}

func (c *check) notNegative(path string, n int) {
	if n < 0 {
		c.wrong(path, fmt.Sprintf("is negative (%d)", n), "write 0 or more")
	}
}

func (c *check) notNegativeTime(path string, d time.Duration) {
	if d < 0 {
		c.wrong(path, fmt.Sprintf("is negative (%s)", d), `write a duration of 0 or more, as "1h"`)
	}
}

func (c *check) oneOf(path, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		c.wrong(path, fmt.Sprintf("%q is not known", value), "write one of "+strings.Join(allowed, ", "))
	}
}

// readable checks that a file that the configuration names can be read, and says
// whether it can.
func (c *check) readable(path, file string) bool {
	problem := whyUnreadable(file)
	if problem != "" {
		c.wrong(path, problem, "name a file that zot may read; a relative path starts where zot does")
	}

	return problem == ""
}

// whyUnreadable returns "" if file is a regular file that can be read. It opens no
// pipe, which would block.
func whyUnreadable(file string) string {
	info, err := os.Stat(file)
	if err != nil {
		return err.Error()
	}

	if !info.Mode().IsRegular() {
		return fmt.Sprintf("%s is not a file", file)
	}

	f, err := os.Open(file)
	if err != nil {
		return err.Error()
	}

	if err := f.Close(); err != nil {
		return err.Error()
	}

	return ""
}
