package cli

import (
	"fmt"
	"strings"

	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/auth"
)

func (c *check) auth() {
	ways := c.cfg.HTTP.Auth

	c.notNegative("http.auth.failDelay", ways.FailDelay)
	c.htpasswd(ways.HTPasswd)
	c.ldap(ways.LDAP)
	c.bearer(ways.Bearer)
	c.openID(ways.OpenID)
	c.mtls(ways.MTLS)

	if others := c.cfg.HTTP; ways.APIKey {
		if others.Auth.APIKey = false; !authenticates(others) {
			c.wrong("http.auth.apikey", "is true, but nobody can log in to make a key", "set http.auth.htpasswd, or another way")
		}
	}

	c.sessions()
}

func (c *check) htpasswd(htpasswd *config.HTPasswd) {
	if htpasswd == nil {
		return
	}

	if htpasswd.Path == "" {
		c.wrong("http.auth.htpasswd.path", "is missing", `name a file made by "htpasswd -B"`)
	} else if c.readable("http.auth.htpasswd.path", htpasswd.Path) {
		c.opens(config.Auth{HTPasswd: htpasswd}, `make its lines with "htpasswd -B"`)
	}
}

// opens checks the content of files by opening this one way, which names the key.
func (c *check) opens(one config.Auth, remedy string) { c.opensAll(config.HTTP{Auth: one}, remedy) }

func (c *check) opensAll(cfg config.HTTP, remedy string) {
	if _, err := auth.Open(cfg, nil); err != nil {
		key, problem, _ := strings.Cut(err.Error(), ": ")
		c.wrong(key, problem, remedy)
	}
}

// secret checks a file that need not be named.
func (c *check) secret(path, file string) {
	if file != "" {
		c.readable(path, file)
	}
}

func (c *check) bearer(bearer *config.Bearer) {
	if bearer == nil {
		return
	}

	const path = "http.auth.bearer"

	for _, other := range []struct {
		key string
		set bool
	}{
		{"oidc", bearer.OIDC != nil},
		{"awsSecretsManager", bearer.AWSSecretsManager != nil},
		{"upstreamTokenEndpoint", bearer.UpstreamTokenEndpoint != ""},
	} {
		if other.set {
			c.refuse(path+"."+other.key, "remove it, and use http.auth.bearer.cert")

			return
		}
	}

	const cert = "name a PEM file of the certificate or public key that its tokens are signed with"

	c.needed(path+".realm", bearer.Realm, "name the URL of the service that gives tokens")
	c.needed(path+".service", bearer.Service, "name what that service calls this registry: the audience of its tokens")

	if c.needed(path+".cert", bearer.Cert, cert) && c.readable(path+".cert", bearer.Cert) {
		c.opens(config.Auth{Bearer: bearer}, cert)
	}
}

// needed checks that a key has a value, and says whether it does.
func (c *check) needed(path, value, remedy string) bool {
	if value == "" {
		c.wrong(path, "is missing", remedy)
	}

	return value != ""
}

func (c *check) mtls(mtls *config.MTLS) {
	if mtls == nil {
		return
	}

	if files := c.cfg.HTTP.TLS; files == nil || files.CACert == "" {
		c.wrong("http.tls.cacert", "is missing, but http.auth.mtls needs client certificates",
			"set http.tls.cert, http.tls.key and http.tls.cacert")
	}

	if len(mtls.IdentityAttributes) == 0 {
		c.wrong("http.auth.mtls.identityAttributes", "is empty: no certificate has a name then",
			"remove it, which means CommonName")
	}

	for i, attribute := range mtls.IdentityAttributes {
		c.oneOf(fmt.Sprintf("http.auth.mtls.identityAttributes[%d]", i), attribute,
			"CommonName", "Subject", "Email", "URI", "DNSName")
	}

	c.regexp("http.auth.mtls.uriSanPattern", mtls.URISANPattern)
	c.notNegative("http.auth.mtls.uriSanIndex", mtls.URISANIndex)
	c.notNegative("http.auth.mtls.dnsSanIndex", mtls.DNSSANIndex)
	c.notNegative("http.auth.mtls.emailSanIndex", mtls.EmailSANIndex)
}

// authenticates says whether clients can say who they are in any way.
func authenticates(http config.HTTP) bool {
	ways := http.Auth

	return http.TLS != nil && http.TLS.CACert != "" || ways.HTPasswd != nil || ways.LDAP != nil || ways.Bearer != nil || ways.OpenID != nil ||
		ways.MTLS != nil || ways.APIKey
}
