package auth

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"zotregistry.io/zot/pkg/api/config"
)

// ldapDirectory is a directory of users that is asked over the network. Methods may be
// called concurrently.
type ldapDirectory struct {
	cfg         config.LDAP
	search      login          // whose name is a DN; without one the search is anonymous
	authorities *x509.CertPool // who signs its certificate; nil = those whom the system trusts
	pool        *ldapPool
	known       *remembered // passwords that were right a moment ago
}

// openLDAP reads the files that cfg names. It connects to nothing: zot starts while the
// directory is down.
func openLDAP(cfg config.LDAP) (*ldapDirectory, error) {
	search, err := readBind(cfg.CredentialsFile)
	if err != nil {
		return nil, fmt.Errorf("http.auth.ldap.credentialsFile: %w", err)
	}

	security, err := ldapTLS(cfg)
	if err != nil {
		return nil, fmt.Errorf("http.auth.ldap.caCert: %w", err)
	}

	if _, err := ldap.CompileFilter(userFilter(cfg, "x")); err != nil {
		return nil, fmt.Errorf("http.auth.ldap.userFilter: %w", err)
	}

	return &ldapDirectory{
		cfg:         cfg,
		search:      search,
		authorities: security.RootCAs,
		pool:        newLDAPPool(ldapDialer{cfg: cfg, tls: security}.dial),
		known:       newRemembered(rememberFor),
	}, nil
}

// userFilter finds a user by name.
func userFilter(cfg config.LDAP, name string) string {
	byName := "(" + cfg.UserAttribute + "=" + ldap.EscapeFilter(name) + ")"

	more := cfg.UserFilter
	if more == "" {
		return byName
	}

	if !strings.HasPrefix(more, "(") {
		more = "(" + more + ")"
	}

	return "(&" + byName + more + ")"
}

// Close closes the connections.
func (d *ldapDirectory) Close() error { return d.pool.Close() }

// check implements directory.
func (d *ldapDirectory) check(ctx context.Context, l login) (User, error) {
	// A bind without a password is anonymous, and succeeds (RFC 4513, 5.1.2).
	if l.password == "" {
		return User{}, errWrong
	}

	mark := d.known.mark(l.user, l.password)
	if user, ok := d.known.get(mark, time.Now()); ok {
		return user, nil
	}

	var user User

	err := d.pool.do(ctx, func(conn *ldap.Conn) error {
		if err := l.allowed(); err != nil {
			return err
		}

		found, err := d.verify(conn, l)
		user = found

		return err
	})
	if err != nil {
		return User{}, ldapError(err)
	}

	d.known.add(mark, user, time.Now())

	return user, nil
}

// ldapError says that nobody knows, unless it is known.
func ldapError(err error) error {
	var tooMany *TooManyError
	if errors.Is(err, errWrong) || errors.As(err, &tooMany) || errors.Is(err, context.Canceled) {
		return err
	}

	return fmt.Errorf("%w: ldap: %w", ErrUnavailable, err)
}

// verify finds the user's entry and binds as it. A user that is not there takes as many
// requests as one that is.
func (d *ldapDirectory) verify(conn *ldap.Conn, l login) (User, error) {
	if err := d.bindToSearch(conn); err != nil {
		return User{}, fmt.Errorf("bind to search for users: %w", err)
	}

	entry, err := d.find(conn, l.user)
	if err != nil {
		return User{}, fmt.Errorf("search for the user: %w", err)
	}

	if entry == nil {
		nobody := d.cfg.UserAttribute + "=" + ldap.EscapeDN(l.user) + "," + d.cfg.BaseDN

		return User{}, cmp.Or(bindAs(conn, nobody, l.password), errWrong)
	}

	if err := bindAs(conn, entry.DN, l.password); err != nil {
		return User{}, err
	}

	return d.userOf(entry, l.user)
}

func (d *ldapDirectory) bindToSearch(conn *ldap.Conn) error {
	if d.search.user == "" {
		return conn.UnauthenticatedBind("")
	}

	return conn.Bind(d.search.user, d.search.password)
}

// bindAs checks a password. Whatever the directory has against the user, a locked account or
// an old password, he may not log in; when it cannot say, that is another error.
func bindAs(conn *ldap.Conn, dn, password string) error {
	err := conn.Bind(dn, password)

	if err != nil && !ldapUnavailable(err) {
		return fmt.Errorf("%w: %w", errWrong, err)
	}

	return err
}

// ldapUnavailable says whether a directory has not decided.
func ldapUnavailable(err error) bool {
	var result *ldap.Error
	if !errors.As(err, &result) {
		return true
	}

	// From LDAPResultOther on they are of this side, or nobody knows what they mean.
	return result.ResultCode >= ldap.LDAPResultOther || ldap.IsErrorAnyOf(err,
		ldap.LDAPResultOperationsError, ldap.LDAPResultProtocolError, ldap.LDAPResultTimeLimitExceeded,
		ldap.LDAPResultAdminLimitExceeded, ldap.LDAPResultConfidentialityRequired,
		ldap.LDAPResultBusy, ldap.LDAPResultUnavailable)
}

// find returns the entry of a user, nil if there is none, or more than one.
func (d *ldapDirectory) find(conn *ldap.Conn, name string) (*ldap.Entry, error) {
	scope := ldap.ScopeSingleLevel
	if d.cfg.SubtreeSearch {
		scope = ldap.ScopeWholeSubtree
	}

	attributes := []string{d.cfg.UserAttribute}
	if d.cfg.UserGroupAttribute != "" {
		attributes = append(attributes, d.cfg.UserGroupAttribute)
	}

	const atMost = 2

	result, err := conn.Search(ldap.NewSearchRequest(
		d.cfg.BaseDN, scope, ldap.NeverDerefAliases, atMost, int(ldapTimeout.Seconds()), false,
		userFilter(d.cfg, name), attributes, nil,
	))

	switch {
	case ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded):
		return nil, nil //nolint:nilnil // more than one
	case err != nil:
		return nil, err
	case len(result.Entries) != 1:
		return nil, nil //nolint:nilnil // none
	}

	return result.Entries[0], nil
}

// userOf takes the name as the directory writes it: there "Ann" and "ann " are the same user,
// and elsewhere they are not.
func (d *ldapDirectory) userOf(entry *ldap.Entry, asked string) (User, error) {
	names := entry.GetEqualFoldAttributeValues(d.cfg.UserAttribute)
	if len(names) == 0 {
		return User{}, fmt.Errorf("%s of %s may not be read", d.cfg.UserAttribute, entry.DN)
	}

	user := User{Name: names[0]}

	for _, name := range names {
		if strings.EqualFold(name, asked) {
			user.Name = name
		}
	}

	if d.cfg.UserGroupAttribute != "" {
		user.Groups = entry.GetEqualFoldAttributeValues(d.cfg.UserGroupAttribute)
	}

	return user, nil
}
