package cli

import (
	"fmt"
	"math"
	"net/netip"
	"strings"

	"zotregistry.io/zot/pkg/api/config"
)

func (c *check) ldap(ldap *config.LDAP) {
	if ldap == nil {
		return
	}

	const path = "http.auth.ldap"

	c.needed(path+".address", ldap.Address, "LDAP needs address, baseDN and userAttribute")
	c.needed(path+".baseDN", ldap.BaseDN, "LDAP needs address, baseDN and userAttribute")
	c.needed(path+".userAttribute", ldap.UserAttribute, "LDAP needs address, baseDN and userAttribute")

	if _, err := netip.ParseAddr(ldap.Address); err != nil && strings.ContainsAny(ldap.Address, "/:[]") {
		c.wrong(path+".address", fmt.Sprintf("%q is no name of a host", ldap.Address),
			"write the host alone, the port in http.auth.ldap.port")
	}

	if ldap.Port < 0 || ldap.Port > math.MaxUint16 {
		c.wrong(path+".port", fmt.Sprintf("%d is no port", ldap.Port), "write a number from 1 to 65535, or remove it")
	}

	if strings.Contains(ldap.UserFilter, "%s") {
		c.wrong(path+".userFilter", "contains %s, which is not replaced by anything",
			"name what users have besides, as (objectClass=person): zot adds http.auth.ldap.userAttribute")
	}

	c.ldapSecurity(path, *ldap)

	credentials := ldap.CredentialsFile == "" || c.readable(path+".credentialsFile", ldap.CredentialsFile)
	ca := ldap.CACert == "" || c.readable(path+".caCert", ldap.CACert)

	if credentials && ca && ldap.UserAttribute != "" {
		c.opens(config.Auth{LDAP: ldap}, ldapRemedy)
	}
}

const ldapRemedy = `write {"bindDN": "...", "bindPassword": "..."} in credentialsFile, PEM certificates in caCert, ` +
	"and a filter of RFC 4515 in userFilter"

func (c *check) ldapSecurity(path string, ldap config.LDAP) {
	switch {
	case ldap.StartTLS && !ldap.Insecure:
		c.warn(path+".startTLS", "has no effect: TLS is spoken at once unless http.auth.ldap.insecure is true")
	case ldap.Insecure && !ldap.StartTLS:
		c.warn(path+".insecure", "lets passwords cross the network in the clear; set startTLS too, or remove it")
	}

	if ldap.SkipVerify && (!ldap.Insecure || ldap.StartTLS) {
		c.warn(path+".skipVerify", "lets anybody take the directory's place; name its authority in caCert instead")
	}
}
