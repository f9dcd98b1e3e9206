package cli

import (
	"crypto/tls"
	"fmt"
	"net/url"
	"strconv"

	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/auth"
)

func (c *check) http() {
	http := c.cfg.HTTP

	if port, err := strconv.ParseUint(http.Port, 10, 16); err != nil {
		c.wrong("http.port", fmt.Sprintf("%q is no port", http.Port), "write a number from 0 (a free port) to 65535")
	} else if http.Port != strconv.FormatUint(port, 10) {
		c.wrong("http.port", fmt.Sprintf("%q has leading zeros", http.Port), fmt.Sprintf("write %q", strconv.FormatUint(port, 10)))
	}

	c.notNegativeTime("http.readTimeout", http.ReadTimeout)
	c.notNegativeTime("http.writeTimeout", http.WriteTimeout)
	c.externalURL()

	for i, compat := range http.Compat {
		c.oneOf(fmt.Sprintf("http.compat[%d]", i), compat, "docker2s2")
	}

	c.rateLimit()
}

func (c *check) externalURL() {
	external := c.cfg.HTTP.ExternalURL
	if external == "" {
		return
	}

	u, err := url.Parse(external)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		c.wrong("http.externalUrl", fmt.Sprintf("%q is no URL that a browser can open", external),
			`write it with its scheme, as "https://registry.example.com"`)
	}
}

func (c *check) rateLimit() {
	limit := c.cfg.HTTP.RateLimit
	if limit == nil {
		return
	}

	c.notNegative("http.ratelimit.rate", limit.Rate)

	seen := map[string]bool{}

	for i, method := range limit.Methods {
		at := fmt.Sprintf("http.ratelimit.methods[%d]", i)

		c.oneOf(at+".method", method.Method, "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
		c.notNegative(at+".rate", method.Rate)

		if seen[method.Method] {
			c.wrong(at+".method", fmt.Sprintf("%q is there twice", method.Method), "name each method once")
		}

		seen[method.Method] = true
	}

	c.clientRate(limit.PerClient)
}

// clientRate checks the bound on each client.
func (c *check) clientRate(client *config.ClientRate) {
	const at = "http.ratelimit.perClient"

	if client == nil {
		return
	}

	c.notNegative(at+".rate", client.Rate)
	c.notNegative(at+".burst", client.Burst)
	c.notNegative(at+".uploads", client.Uploads)

	switch {
	case client.Rate == 0 && (client.Uploads == 0 || client.Burst != 0):
		c.wrong(at+".rate", "is missing, or 0", "write requests per second, as 50, or leave perClient out")
	case client.Rate > 0 && client.Burst > 0 && client.Burst < client.Rate:
		c.wrong(at+".burst", fmt.Sprintf("is less than the rate (%d)", client.Rate), "write at least the rate, or leave it out")
	}
}

func (c *check) tls() {
	files := c.cfg.HTTP.TLS
	if files == nil {
		return
	}

	cert := c.pemFile("http.tls.cert", files.Cert, "the certificate of this server")
	key := c.pemFile("http.tls.key", files.Key, "the private key of the certificate")

	if cert && key {
		if _, err := tls.LoadX509KeyPair(files.Cert, files.Key); err != nil {
			c.wrong("http.tls.cert", err.Error(), "name a PEM certificate, and in http.tls.key the key that belongs to it")
		}
	}

	if files.CACert == "" {
		return
	}

	if c.readable("http.tls.cacert", files.CACert) && !holdsCertificates(files.CACert) {
		c.wrong("http.tls.cacert", files.CACert+" holds no certificate", "name a file of PEM certificates")
	}
}

// pemFile checks a file that must be named, and says whether it can be read.
func (c *check) pemFile(path, file, what string) bool {
	if file == "" {
		c.wrong(path, "is missing", "name a PEM file with "+what+", or leave http.tls out")

		return false
	}

	return c.readable(path, file)
}

func holdsCertificates(file string) bool {
	_, err := auth.LoadCAs(file)

	return err == nil
}
