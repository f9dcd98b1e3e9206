package cli

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/auth"
)

func (c *check) openID(openID *config.OpenID) {
	if openID == nil {
		return
	}

	const path = "http.auth.openid"

	if len(openID.Providers) == 0 {
		c.wrong(path+".providers", "is missing", "name a provider, with its issuer and clientid")
	}

	for _, name := range sortedNames(openID.Providers) {
		c.provider(path+".providers["+name+"]", name, openID.Providers[name])
	}

	for i, origin := range openID.CallbackAllowOrigins {
		c.origin(fmt.Sprintf("%s.callbackAllowOrigins[%d]", path, i), origin)
	}

	if c.needed("http.externalUrl", c.cfg.HTTP.ExternalURL, `providers send browsers back there: write it, as "https://registry.example.com"`) {
		c.secureSession()
	}

	c.opensOpenID()
}

// providerName is what may be part of a path without being escaped.
var providerName = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

func (c *check) provider(at, name string, provider config.Provider) {
	if !providerName.MatchString(name) || strings.Trim(name, ".") == "" {
		c.wrong(at, "cannot be part of a URL", "name it with letters, digits, dots, dashes and underscores")
	}

	c.secret(at+".credentialsFile", provider.CredentialsFile)

	if provider.CredentialsFile == "" && provider.ClientID == "" {
		c.wrong(at+".clientid", "is missing", "give clientid and clientsecret, or a credentialsFile")
	}

	if c.secret(at+".keypath", provider.KeyPath); provider.KeyPath != "" {
		c.refuse(at+".keypath", "remove it, and give a clientsecret")
	}

	if strings.EqualFold(name, "github") && provider.Issuer == "" { // it speaks OAuth2 only
		c.refuse(at, "remove it, and use a provider that speaks OpenID Connect")

		return
	}

	const remedy = `write the URL that the provider has in its tokens, as "https://accounts.example.com"`

	if !c.needed(at+".issuer", provider.Issuer, remedy) {
		return
	}

	switch u, err := url.Parse(provider.Issuer); {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		c.wrong(at+".issuer", fmt.Sprintf("%q is no URL", provider.Issuer), remedy)
	case u.Scheme == "http":
		c.warn(at+".issuer", "is plain HTTP: who is in between can be anyone")
	}
}

func (c *check) origin(path, origin string) {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "" {
		c.wrong(path, fmt.Sprintf("%q is no origin", origin), `write scheme and host, as "https://ui.example.com"`)
	}
}

// secureSession: browsers do not send secure cookies to a host that has no TLS.
func (c *check) secureSession() {
	secure := c.cfg.HTTP.Auth.SecureSession

	switch plain := strings.HasPrefix(c.cfg.HTTP.ExternalURL, "http:"); {
	case plain && (secure == nil || *secure):
		c.warn("http.externalUrl", "is plain HTTP, where browsers send no secure cookie: to log in works at localhost only, "+
			"or with http.auth.secureSession: false")
	case !plain && secure != nil && !*secure:
		c.warn("http.auth.secureSession", "is false, but http.externalUrl is https: remove it, so that no session is ever sent without TLS")
	}
}

// opensOpenID checks the content of files, where nothing else is wrong.
func (c *check) opensOpenID() {
	if len(c.mistakes.list) > 0 {
		return
	}

	cfg := config.HTTP{ExternalURL: c.cfg.HTTP.ExternalURL, AllowOrigin: c.cfg.HTTP.AllowOrigin}
	cfg.Auth.OpenID, cfg.Auth.SessionKeysFile = c.cfg.HTTP.Auth.OpenID, c.cfg.HTTP.Auth.SessionKeysFile

	c.opensAll(cfg, "docs/authentication.md says what belongs there")
}

// sessions are of browsers that have logged in.
func (c *check) sessions() {
	ways := c.cfg.HTTP.Auth

	c.secret("http.auth.sessionKeysFile", ways.SessionKeysFile)

	if ways.SessionDriver != nil {
		c.oneOf("http.auth.sessionDriver.name", ways.SessionDriver.Name(), "local", "redis")
	}

	if ways.SessionDriver.Name() == "redis" {
		c.warn("http.auth.sessionDriver", "is redis; sessions are kept in the store, where all replicas find them: it has no effect")
	}

	if ways.OpenID == nil {
		c.tokens()

		for _, key := range []string{"sessionDriver", "secureSession"} {
			if c.set["http.auth."+key] {
				c.warn("http.auth."+key, "has no effect without http.auth.openid")
			}
		}
	} else if c.cfg.Storage.StorageDriver != nil && ways.SessionKeysFile == "" {
		c.warn("http.auth.openid", "needs http.auth.sessionKeysFile where several replicas serve the bucket: a login goes on at another one")
	}
}

// tokens are those that zot gives where everyone may do something.
func (c *check) tokens() {
	cfg := c.cfg.HTTP
	open := cfg.AccessControl != nil && anyAnonymous(cfg.AccessControl)

	switch gives := auth.GivesTokens(cfg); {
	case open && gives:
		if len(c.mistakes.list) == 0 {
			one := config.HTTP{ExternalURL: cfg.ExternalURL}
			one.Auth.APIKey, one.Auth.SessionKeysFile = true, cfg.Auth.SessionKeysFile
			c.opensAll(one, "docs/authentication.md says what belongs there")
		}
	case cfg.Auth.SessionKeysFile != "":
		c.warn("http.auth.sessionKeysFile", "has no effect without http.auth.openid, or http.externalUrl and an anonymousPolicy")
	case open && cfg.Auth.Bearer == nil && (cfg.Auth.HTPasswd != nil || cfg.Auth.LDAP != nil):
		c.warn("http.auth.sessionKeysFile", "is missing, and everyone may do something: docker login takes any password, and docker with "+
			"its older image store cannot push, unless it and http.externalUrl are set (docs/access.md)")
	}
}
