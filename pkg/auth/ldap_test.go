package auth

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-ldap/ldap/v3"

	"zotregistry.io/zot/pkg/api/config"
)

func TestBindFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bind")

	for content, want := range map[string]string{
		`{"bindDN": "cn=zot", "bindPassword": "s3cret"}`: "",
		"binddn: cn=zot\nBINDPASSWORD: s3cret\n":         "",
		`{"bindDN": "cn=zot"}`:                           "is missing",
		`{"bindPassword": "s3cret"}`:                     "is missing",
		`{}`:                                             "is missing",
		``:                                               "is missing",
		`{"bindDN": "cn=zot", "bindPassword": "s3cret", "bind": ""}`: `unknown key "bind"`,
		`{"bindDN": "cn=zot", "bindPassword": ["s3cret"]}`:           "no JSON or YAML object",
		`s3cret`: "no JSON or YAML object",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}

		bind, err := readBind(path)
		if want == "" {
			equal(t, err, nil, content)
			equal(t, bind.user+" "+bind.password, "cn=zot s3cret", content)

			continue
		}

		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: got %v, want %q", content, err, want)
		}
	}

	bind, err := readBind("")
	equal(t, err, nil, "no file")
	equal(t, bind.user, "", "anonymous")
}

func TestUserFilter(t *testing.T) {
	for _, row := range []struct{ name, more, want string }{
		{"ann", "", "(uid=ann)"},
		{"ann", "(title=boss)", "(&(uid=ann)(title=boss))"},
		{"ann", "title=boss", "(&(uid=ann)(title=boss))"},
		{"ann)(uid=*", "", `(uid=ann\29\28uid=\2a)`},
		{"\x00\\", "", `(uid=\00\5c)`},
	} {
		filter := userFilter(config.LDAP{UserAttribute: "uid", UserFilter: row.more}, row.name)
		equal(t, filter, row.want, row.name)

		_, err := ldap.CompileFilter(filter)
		equal(t, err, nil, row.name)
	}
}

func FuzzUserFilter(f *testing.F) {
	f.Add("ann)(uid=*")

	f.Fuzz(func(t *testing.T, name string) {
		packet, err := ldap.CompileFilter(userFilter(config.LDAP{UserAttribute: "uid"}, name))
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}

		// An equality, of the attribute and one value: no wildcard, nothing beside it.
		if packet.Tag != ldap.FilterEqualityMatch || len(packet.Children) != 2 {
			t.Errorf("%q: %s", name, ldap.FilterMap[uint64(packet.Tag)])
		}
	})
}

func TestBadLDAP(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")

	for want, cfg := range map[string]config.LDAP{
		"http.auth.ldap.credentialsFile: ": {CredentialsFile: missing},
		"http.auth.ldap.caCert: ":          {CACert: missing},
		"http.auth.ldap.userFilter: ":      {UserFilter: "(a"},
	} {
		cfg.UserAttribute = "uid"

		_, err := Open(config.HTTP{Auth: config.Auth{LDAP: &cfg}}, nil)
		equal(t, strings.HasPrefix(fmt.Sprint(err), want), true, fmt.Sprint(err))
	}
}

func TestLDAPTLS(t *testing.T) {
	security, err := ldapTLS(config.LDAP{Address: "ldap.example.com"})
	must(t, security, err)
	equal(t, security.MinVersion, uint16(tls.VersionTLS12), "TLS version")
	equal(t, security.InsecureSkipVerify, false, "any certificate")
	equal(t, security.ServerName, "ldap.example.com", "name")
}

// A directory that cannot be reached is left alone for a moment.
func TestResting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials := 0
		pool := newLDAPPool(func(context.Context) (*ldap.Conn, error) {
			dials++

			return nil, errors.New("no route")
		})
		try := func() error {
			return pool.do(t.Context(), func(*ldap.Conn) error { return errors.New("called") })
		}

		equal(t, try().Error(), "no route", "first")
		equal(t, try(), errResting, "second")
		equal(t, dials, 1, "dials")
		<-time.After(ldapRest)
		equal(t, try().Error(), "no route", "later")
		equal(t, dials, 2, "dials later")
	})
}

// Connections are used again, dropped when they have been idle, and closed at the end.
func TestPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var open []net.Conn

		pool := newLDAPPool(func(context.Context) (*ldap.Conn, error) {
			ours, theirs := net.Pipe()
			open = append(open, theirs)

			go discard(theirs)

			conn := ldap.NewConn(ours, false)
			conn.Start()

			return conn, nil
		})

		var used []*ldap.Conn

		use := func(times int) {
			for range times {
				equal(t, pool.do(t.Context(), func(conn *ldap.Conn) error {
					used = append(used, conn)

					return nil
				}), nil, "error")
			}
		}

		use(2 * ldapConnections)
		equal(t, len(open), ldapConnections, "connections")
		<-time.After(ldapIdle + time.Second)
		use(1)
		equal(t, len(open), ldapConnections+1, "connections after a while")
		equal(t, used[0].IsClosing(), true, "the idle one is closed")

		equal(t, pool.do(t.Context(), func(conn *ldap.Conn) error {
			used = append(used, conn)

			return pool.Close()
		}), nil, "close while one is in use")

		for _, conn := range used {
			equal(t, conn.IsClosing(), true, "closed")
		}
	})
}

// discard reads until one of the sides closes.
func discard(conn net.Conn) {
	buf := make([]byte, 1024)

	for {
		if _, err := conn.Read(buf); err != nil {
			return
		}
	}
}
