//go:build remote

package auth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"zotregistry.io/zot/internal/servers"
	"zotregistry.io/zot/pkg/api/config"
)

// people are who is in the directory. Two have the same mail address.
const people = `dn: ou=people,dc=example,dc=com
objectClass: organizationalUnit
ou: people

dn: uid=ann,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: ann
cn: Ann
sn: Ann
title: developer
memberOf: cn=dev,ou=groups,dc=example,dc=com
memberOf: cn=ops,ou=groups,dc=example,dc=com
mail: team@example.com
userPassword: right

dn: uid=bob,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: bob
cn: Bob
sn: Bob
mail: team@example.com
userPassword: right

dn: uid=a*b(c)\\d,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: a*b(c)\d
cn: odd
sn: odd
userPassword: right

dn: ou=deep,ou=people,dc=example,dc=com
objectClass: organizationalUnit
ou: deep

dn: uid=eve,ou=deep,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: eve
cn: Eve
sn: Eve
userPassword: right

`

// mustLDAP opens a directory at slapd's plain port, with changes of the settings.
func mustLDAP(t *testing.T, addr string, change func(*config.LDAP)) *ldapDirectory {
	t.Helper()

	host, port, err := net.SplitHostPort(addr)
	must(t, host, err)

	number, err := strconv.Atoi(port)
	must(t, number, err)

	cfg := config.LDAP{
		Address: host, Port: number, BaseDN: "ou=people," + servers.LDAPBase, UserAttribute: "uid",
		CredentialsFile: writeBind(t, servers.LDAPSearcher, servers.LDAPSecret), Insecure: true,
	}

	if change != nil {
		change(&cfg)
	}

	d, err := openLDAP(cfg)
	must(t, d, err)

	t.Cleanup(func() { must(t, d, d.Close()) })

	return d
}

func writeBind(t *testing.T, dn, password string) string {
	t.Helper()

	path := filepath.Join(t.TempDir(), "bind.json")
	text := fmt.Sprintf(`{"bindDN": %q, "bindPassword": %q}`, dn, password)

	return must(t, path, os.WriteFile(path, []byte(text), 0o600))
}

// logIn returns the user, or what of errWrong and ErrUnavailable it is.
func (d *ldapDirectory) logIn(t *testing.T, name, password string) (User, error) {
	t.Helper()

	user, err := d.check(t.Context(), unlimited(name, password))

	for _, kind := range []error{errWrong, ErrUnavailable} {
		if errors.Is(err, kind) {
			if strings.Contains(err.Error(), servers.LDAPSecret) || password != "" && strings.Contains(err.Error(), password) {
				t.Errorf("a password is in the error: %v", err)
			}

			return user, kind
		}
	}

	return user, err
}

func TestLDAP(t *testing.T) {
	slapd := servers.StartLDAP(t, people)

	for what, change := range map[string]func(*config.LDAP){
		"plain":    nil,
		"StartTLS": func(cfg *config.LDAP) { cfg.StartTLS, cfg.CACert = true, slapd.CA.Path },
		"TLS": func(cfg *config.LDAP) {
			_, port, err := net.SplitHostPort(slapd.TLSAddr)
			must(t, port, err)

			cfg.Port, err = strconv.Atoi(port)
			must(t, port, err)

			cfg.Insecure, cfg.CACert = false, slapd.CA.Path
		},
		"StartTLS with any certificate": func(cfg *config.LDAP) { cfg.StartTLS, cfg.SkipVerify = true, true },
	} {
		t.Run(what, func(t *testing.T) {
			d := mustLDAP(t, slapd.Addr, change)

			for range 2 { // remembered, and a connection that was used
				for _, name := range []string{"ann", "bob", `a*b(c)\d`} {
					user, err := d.logIn(t, name, "right")
					equal(t, err, nil, name)
					equal(t, user.Name, name, "user")
				}

				for _, name := range []string{
					"ann", "nobody", "a*", "*", "ann)(uid=*", "ann*", "", " ", "\x00", "\xff", "a\nb", strings.Repeat("x", maxName),
					"uid=ann,ou=people,dc=example,dc=com", "eve", "zot", `\2a`, "ann,ou=people", "#616e6e",
				} {
					_, err := d.logIn(t, name, "wrong-one")
					equal(t, err, errWrong, fmt.Sprintf("%q with a wrong password", name))

					_, err = d.logIn(t, name, "")
					equal(t, err, errWrong, fmt.Sprintf("%q without a password", name))

					if name != "ann" {
						_, err = d.logIn(t, name, "right")
						equal(t, err, errWrong, fmt.Sprintf("%q with ann's password", name))
					}
				}
			}
		})
	}
}

func TestLDAPSettings(t *testing.T) {
	slapd := servers.StartLDAP(t, people)

	for _, row := range []struct {
		what   string
		change func(*config.LDAP)
		name   string
		want   error
	}{
		{"names as the directory writes them", nil, "ANN ", nil},
		{"below the base", func(cfg *config.LDAP) { cfg.BaseDN = servers.LDAPBase }, "ann", errWrong},
		{"anywhere below it", func(cfg *config.LDAP) { cfg.BaseDN, cfg.SubtreeSearch = servers.LDAPBase, true }, "ann", nil},
		{"a filter", func(cfg *config.LDAP) { cfg.UserFilter = "(title=developer)" }, "ann", nil},
		{"a filter of others", func(cfg *config.LDAP) { cfg.UserFilter = "title=boss" }, "ann", errWrong},
		{"another attribute", func(cfg *config.LDAP) { cfg.UserAttribute = "CN" }, "Ann", nil},
		{"an attribute of several", func(cfg *config.LDAP) { cfg.UserAttribute = "mail" }, "team@example.com", errWrong},

		{"a base that is not there", func(cfg *config.LDAP) { cfg.BaseDN = "dc=none" }, "ann", ErrUnavailable},
		{"a bind with a wrong password", func(cfg *config.LDAP) {
			cfg.CredentialsFile = writeBind(t, servers.LDAPSearcher, "not this")
		}, "ann", ErrUnavailable},
		{"TLS to a plain port", func(cfg *config.LDAP) { cfg.Insecure = false }, "ann", ErrUnavailable},
		{"a certificate that nobody knows", func(cfg *config.LDAP) { cfg.StartTLS = true }, "ann", ErrUnavailable},
		{"a certificate of another host", func(cfg *config.LDAP) {
			cfg.StartTLS, cfg.CACert, cfg.Address = true, slapd.CA.Path, "localhost"
		}, "ann", ErrUnavailable},
	} {
		d := mustLDAP(t, slapd.Addr, row.change)

		user, err := d.logIn(t, row.name, "right")
		equal(t, err, row.want, row.what)
		equal(t, strings.EqualFold(user.Name, strings.TrimSpace(row.name)), row.want == nil, row.what+": user "+user.Name)
		equal(t, user.Name == "ANN ", false, row.what)
	}

	// Nobody but the searcher sees an entry here.
	anonymous := mustLDAP(t, slapd.Addr, func(cfg *config.LDAP) { cfg.CredentialsFile = "" })
	_, err := anonymous.logIn(t, "ann", "right")
	equal(t, err != nil, true, "an anonymous search")
}

func TestLDAPGroups(t *testing.T) {
	slapd := servers.StartLDAP(t, people)

	for attribute, want := range map[string]string{
		"": "", "title": "developer", "TITLE": "developer", "description": "",
		"memberOf": "cn=dev,ou=groups,dc=example,dc=com cn=ops,ou=groups,dc=example,dc=com",
	} {
		d := mustLDAP(t, slapd.Addr, func(cfg *config.LDAP) { cfg.UserGroupAttribute = attribute })
		user, err := d.logIn(t, "ann", "right")
		equal(t, err, nil, "error")
		equal(t, strings.Join(user.Groups, " "), want, attribute)
	}
}

// The directory is stopped, started, and held.
func TestLDAPDown(t *testing.T) {
	slapd := servers.StartLDAP(t, people)
	d := mustLDAP(t, slapd.Addr, nil)

	log := func(name string) error {
		_, err := d.logIn(t, name, "right")

		return err
	}

	equal(t, log("ann"), nil, "at first")
	slapd.Stop()
	equal(t, log("bob"), ErrUnavailable, "stopped")
	equal(t, log("ann"), nil, "who is remembered")

	start := time.Now()
	for range 100 {
		equal(t, log("bob"), ErrUnavailable, "stopped")
	}

	if took := time.Since(start); took > ldapTimeout {
		t.Errorf("100 logins while it is down took %s", took)
	}

	slapd.Start()
	<-time.After(ldapRest)
	equal(t, log("bob"), nil, "started again")

	slapd.Stop()
	slapd.Start()
	equal(t, log(`a*b(c)\d`), nil, "restarted: the connection that was kept is broken")

	slapd.Pause()

	start = time.Now()
	equal(t, log("eve"), ErrUnavailable, "held")

	if took := time.Since(start); took < ldapTimeout-time.Second || took > 4*ldapTimeout {
		t.Errorf("a login while it is held took %s", took)
	}

	slapd.Resume()
	<-time.After(ldapRest)
	_, err := d.logIn(t, "bob", "wrong-one")
	equal(t, err, errWrong, "goes on")
}

// Many users at a time, with the right passwords and with wrong ones, never take each other's
// place on a connection.
func TestLDAPTogether(t *testing.T) {
	slapd := servers.StartLDAP(t, people)
	d := mustLDAP(t, slapd.Addr, nil)

	var all sync.WaitGroup

	for i := range 200 {
		all.Go(func() {
			name, password, want := "ann", "right", error(nil)
			if i%2 == 1 {
				name, password, want = "bob", fmt.Sprintf("wrong-%d", i), errWrong
			}

			user, err := d.check(t.Context(), unlimited(name, password))
			if !errors.Is(err, want) || want == nil && user.Name != name {
				t.Errorf("%s: %+v, %v", name, user, err)
			}
		})
	}

	all.Wait()
	equal(t, len(d.pool.slots), ldapConnections, "places")
}

// Logins that wait for a connection are held to the limit.
func TestLDAPLimit(t *testing.T) {
	slapd := servers.StartLDAP(t, people)
	d := mustLDAP(t, slapd.Addr, nil)
	full := &TooManyError{RetryAfter: time.Second}

	_, err := d.check(t.Context(), login{user: "ann", password: "right", allowed: func() error { return full }})
	equal(t, errors.Is(err, full), true, fmt.Sprint(err))

	for range ldapConnections {
		<-d.pool.slots
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	_, err = d.check(ctx, unlimited("ann", "right"))
	equal(t, errors.Is(err, context.Canceled), true, fmt.Sprint(err))

	for range ldapConnections {
		d.pool.put(pooled{})
	}
}
