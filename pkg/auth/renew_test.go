package auth

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"zotregistry.io/zot/pkg/api/config"
)

// TestRenew: what comes from the same settings and files is shared, anything else is new.
func TestRenew(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		return must(t, filepath.Join(dir, name), os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}

	const hash = "$2y$05$abcdefghijklmnopqrstuuu5VnJ1gQ3nZ0dQ0zQ1uC6m6J1tG1m6a"

	cfg := config.HTTP{Auth: config.Auth{
		HTPasswd: &config.HTPasswd{Path: file("htpasswd", "ann:"+hash+"\n")},
		LDAP: &config.LDAP{
			Address: "127.0.0.1", BaseDN: "dc=x", UserAttribute: "uid",
			CredentialsFile: file("bind", `{"bindDN": "cn=zot", "bindPassword": "one"}`),
		},
	}}

	first, err := Open(cfg, nil)
	must(t, first, err)

	directories := func(w *Ways) (passwords, remote directory) { return w.basic.directories[0], w.basic.directories[1] }

	second, err := first.Renew(cfg)
	must(t, second, err)

	p1, l1 := directories(first)
	p2, l2 := directories(second)
	equal(t, p1 == p2, true, "htpasswd is shared")
	equal(t, l1 == l2, true, "LDAP is shared")
	equal(t, first.attempts == second.attempts, true, "attempts are shared")
	equal(t, second.basic.attempts == first.attempts, true, "attempts are counted")
	must(t, second, first.Retire(second))
	equal(t, l2.(*ldapDirectory).pool.closed, false, "what is shared stays open")

	file("htpasswd", "bob:"+hash+"\n")
	file("bind", `{"bindDN": "cn=zot", "bindPassword": "two"}`)

	third, err := second.Renew(cfg)
	must(t, third, err)

	p3, l3 := directories(third)
	equal(t, p3 == p2, false, "another htpasswd is shared")
	equal(t, l3 == l2, false, "LDAP with another password is shared")
	must(t, third, second.Retire(third))
	equal(t, l2.(*ldapDirectory).pool.closed, true, "what is not used is closed")
	equal(t, l3.(*ldapDirectory).pool.closed, false, "what is used is open")

	none, err := third.Renew(config.HTTP{})
	must(t, none, err)
	equal(t, none.Any(), false, "no way is left")
	must(t, none, third.Retire(none))
	equal(t, l3.(*ldapDirectory).pool.closed, true, "LDAP is closed where there is none any more")

	file("htpasswd", "broken")

	_, err = none.Renew(cfg)
	equal(t, err != nil, true, "a broken file is refused")
}

// TestRetiredPool: a request that is under way at a pool that is closed goes on, one that comes
// late is served, and neither leaves a connection.
func TestRetiredPool(t *testing.T) {
	var (
		made []*ldap.Conn
		ends []net.Conn
	)

	pool := newLDAPPool(func(context.Context) (*ldap.Conn, error) {
		ours, theirs := net.Pipe()
		go discard(theirs)

		ends = append(ends, theirs)

		conn := ldap.NewConn(ours, false)
		conn.Start()

		made = append(made, conn)

		return conn, nil
	})

	must(t, pool, pool.do(t.Context(), func(conn *ldap.Conn) error {
		must(t, pool, pool.Close())
		equal(t, conn.IsClosing(), false, "the connection of a request under way is closed")

		return nil
	}))
	must(t, pool, pool.do(t.Context(), func(*ldap.Conn) error { return nil }))

	for _, conn := range made {
		equal(t, conn.IsClosing(), true, "closed in the end")
	}

	for _, end := range ends {
		must(t, end, end.Close())
	}
}
