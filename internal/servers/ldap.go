package servers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What StartLDAP puts into a directory.
const (
	LDAPBase     = "dc=example,dc=com"
	LDAPSearcher = "cn=zot,dc=example,dc=com" // may search, and knows no passwords
	LDAPSecret   = "searching"                // its password
)

// LDAP is OpenLDAP's slapd.
type LDAP struct {
	*Server

	TLSAddr string // host:port that speaks TLS at once
	CA      *CA    // signed its certificate, for 127.0.0.1
}

// ldapSchemas is where Debian's package has them.
const ldapSchemas = "/etc/ldap/schema"

// StartLDAP starts a slapd with LDAPBase, LDAPSearcher and entries, in LDIF. Only
// LDAPSearcher may search.
func StartLDAP(tb testing.TB, entries string) *LDAP {
	tb.Helper()

	dir := tb.TempDir()
	slapd := slapdProgram(tb)
	l := &LDAP{TLSAddr: freeAddr(tb), CA: NewCA(tb)}
	cert, key := l.CA.Issue(tb)
	conf := filepath.Join(dir, "slapd.conf")

	must(tb, os.WriteFile(conf, fmt.Appendf(nil, `
include %[1]s/core.schema
include %[1]s/cosine.schema
include %[1]s/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
pidfile %[2]s/pid
TLSCertificateFile %[3]s
TLSCertificateKeyFile %[4]s
database mdb
suffix %[5]q
rootdn "cn=admin,%[5]s"
directory %[2]s
overlay memberof
access to attrs=userPassword by anonymous auth by * none
access to * by dn=%[6]q read by * none
`, ldapSchemas, dir, cert, key, LDAPBase, LDAPSearcher), 0o600))

	ldif := filepath.Join(dir, "entries.ldif")
	must(tb, os.WriteFile(ldif, []byte(ldapRoot+entries), 0o600))

	add := exec.CommandContext(context.WithoutCancel(tb.Context()), slapd, "-T", "add", "-f", conf, "-l", ldif)
	if out, err := add.CombinedOutput(); err != nil {
		tb.Fatalf("slapadd: %v: %s", err, out)
	}

	addr := freeAddr(tb)
	l.Server = start(tb, addr, slapd, "-f", conf, "-h", "ldap://"+addr+" ldaps://"+l.TLSAddr, "-d", "0")

	return l
}

var ldapRoot = strings.ReplaceAll(`dn: BASE
objectClass: dcObject
objectClass: organization
dc: example
o: example

dn: cn=zot,BASE
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: zot
userPassword: `+LDAPSecret+`

`, "BASE", LDAPBase)

// slapdProgram finds slapd, which is not in everyone's PATH.
func slapdProgram(tb testing.TB) string {
	tb.Helper()

	const debian = "/usr/sbin/slapd"
	if _, err := os.Stat(debian); err == nil {
		return debian
	}

	return program(tb, "slapd", "slapd")
}
