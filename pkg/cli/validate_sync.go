package cli

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"zotregistry.io/zot/pkg/api/config"
)

func (c *check) sync() {
	sync := c.cfg.Extensions.Sync
	if sync == nil || !sync.On() {
		return
	}

	c.secret("extensions.sync.credentialsFile", sync.CredentialsFile)

	for i, upstream := range sync.Registries {
		at := fmt.Sprintf("extensions.sync.registries[%d]", i)

		c.upstream(at, upstream)

		for j, content := range upstream.Content {
			c.content(fmt.Sprintf("%s.content[%d]", at, j), content)
		}
	}

	c.refuse("extensions.sync", "remove it: nothing is copied from other registries yet")
}

func (c *check) upstream(path string, upstream config.Upstream) {
	if len(upstream.URLs) == 0 {
		c.wrong(path+".urls", "is missing", `name the registry, as ["https://registry.example.com"]`)
	}

	for i, address := range upstream.URLs {
		if u, err := url.Parse(address); err != nil || u.Host == "" {
			c.wrong(fmt.Sprintf("%s.urls[%d]", path, i), "is no URL", `write it as "https://registry.example.com"`)
		}
	}

	retries := upstream.MaxRetries > 0 || upstream.MaxRetryDelay > 0
	if retries && upstream.RetryDelay == nil {
		c.wrong(path+".retryDelay", "is missing, but maxRetries or maxRetryDelay is set", `write a duration, as "5m"`)
	}

	c.notNegative(path+".maxRetries", upstream.MaxRetries)
	c.notNegative(path+".reqConcurrent", upstream.ReqConcurrent)

	if upstream.RetryDelay != nil {
		c.notNegativeTime(path+".retryDelay", *upstream.RetryDelay)
	}

	for key, d := range map[string]time.Duration{
		".pollInterval": upstream.PollInterval, ".maxRetryDelay": upstream.MaxRetryDelay,
		".syncTimeout": upstream.SyncTimeout, ".manifestCheckInterval": upstream.ManifestCheckInterval,
		".responseHeaderTimeout": upstream.ResponseHeaderTimeout,
	} {
		c.notNegativeTime(path+key, d)
	}
}

func (c *check) content(path string, content config.Content) {
	c.glob(path+".prefix", content.Prefix)

	if tags := content.Tags; tags != nil {
		c.regexp(path+".tags.regex", tags.Regex)
		c.regexp(path+".tags.excludeRegex", tags.ExcludeRegex)
	}

	// Without its prefix and with no directory to go to, nothing of the name is left.
	if content.StripPrefix && content.Destination == "/" && !strings.ContainsAny(content.Prefix, "*?[{") {
		c.wrong(path+".stripPrefix", `leaves no name where destination is "/" and prefix has no glob`,
			`write another destination, or a prefix as "infra/**"`)
	}
}
