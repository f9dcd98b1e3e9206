package cli

import (
	"fmt"
	"path"
	"strings"
	"time"

	"zotregistry.io/zot/pkg/api"
)

// minScrub is how often all that is stored may be read at most.
const minScrub = 2 * time.Hour

func (c *check) extensions() {
	ext := c.cfg.Extensions

	if ext.UI.On() && (ext.Search == nil || !ext.Search.On()) {
		c.wrong("extensions.ui", "needs search, which is off", "set extensions.search.enable to true")
	}

	if ext.Metrics != nil && ext.Metrics.On() {
		c.metricsPath("extensions.metrics.prometheus.path", ext.Metrics.Prometheus.Path)
		c.metricsReaders()
	}

	if ext.Scrub != nil && ext.Scrub.On() && ext.Scrub.Interval < minScrub {
		c.warn("extensions.scrub.interval", "is %s; %s is used, the least that is possible", ext.Scrub.Interval, minScrub)
		ext.Scrub.Interval = minScrub
	}

	c.events()

	for _, name := range c.extensionsOn() {
		c.ignored("extensions." + name)
	}

	if ext.Trust != nil && ext.Trust.On() {
		c.refuse("extensions.trust", "remove it: signatures are not verified yet")
	}
}

// extensionsOn lists the extensions that are asked for, and safe to go on without.
func (c *check) extensionsOn() []string {
	ext := c.cfg.Extensions

	var on []string

	for _, extension := range []struct {
		name string
		on   bool
	}{
		{"search", ext.Search != nil && ext.Search.On()},
		{"lint", ext.Lint != nil && ext.Lint.On()},
		{"ui", ext.UI.On()},
		{"mgmt", ext.Mgmt.On()},
		{"userprefs", ext.UserPrefs.On()},
		{"events", ext.Events != nil && ext.Events.On()},
	} {
		if extension.on {
			on = append(on, extension.name)
		}
	}

	return on
}

func (c *check) metricsPath(key, at string) {
	const remedy = `write an absolute path of its own, as "/metrics"`

	switch {
	case !strings.HasPrefix(at, "/") || path.Clean(at) != at:
		c.wrong(key, fmt.Sprintf("%q is not a clean path", at), remedy)
	case at == "/" || at == "/v2" || strings.HasPrefix(at, "/v2/") || strings.HasPrefix(at, "/zot/") || api.Serves(at):
		c.wrong(key, fmt.Sprintf("%q belongs to the registry", at), remedy)
	}
}

// metricsReaders warns if nobody may read the metrics.
func (c *check) metricsReaders() {
	access := c.cfg.HTTP.AccessControl
	if access != nil && len(access.Metrics.Users) == 0 && len(access.Metrics.AnonymousPolicy) == 0 {
		c.warn("extensions.metrics", "nobody may read the metrics: name users in http.accessControl.metrics.users")
	}
}

func (c *check) events() {
	events := c.cfg.Extensions.Events
	if events == nil || !events.On() {
		return
	}

	for i, sink := range events.Sinks {
		at := fmt.Sprintf("extensions.events.sinks[%d]", i)

		c.oneOf(at+".type", sink.Type, "http", "nats")
		c.notNegativeTime(at+".timeout", sink.Timeout)

		if sink.Address == "" {
			c.wrong(at+".address", "is missing", "name where events go to")
		}
	}
}
