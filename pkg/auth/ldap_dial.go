package auth

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"zotregistry.io/zot/pkg/api/config"
)

// ldapTimeout bounds how long it takes to connect, and then each answer.
const ldapTimeout = 5 * time.Second

// maxLDAPMessage bounds a message of the directory, in bytes: a user with 10,000 groups fits. The
// library would read one of up to 2 GiB into memory.
const maxLDAPMessage = 4 << 20

var boundLDAP = sync.OnceFunc(func() { ber.MaxPacketLengthBytes = maxLDAPMessage })

// Ports of RFC 4516 and of LDAP over TLS.
const (
	ldapPort  = 389
	ldapsPort = 636
)

// ldapDialer connects to a directory.
type ldapDialer struct {
	cfg config.LDAP
	tls *tls.Config
}

// ldapTLS trusts those who signed what is in caCert, or else those whom the system trusts.
func ldapTLS(cfg config.LDAP) (*tls.Config, error) {
	security := &tls.Config{
		ServerName:         cfg.Address,
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: cfg.SkipVerify, //nolint:gosec // the configuration asks for it
	}

	if cfg.CACert == "" {
		return security, nil
	}

	var err error
	security.RootCAs, err = LoadCAs(cfg.CACert)

	return security, err
}

// readBind reads a file of bindDN and bindPassword, JSON or YAML. "" is no file.
func readBind(path string) (login, error) {
	if path == "" {
		return login{}, nil
	}

	secrets, err := readSecrets(path, "binddn", "bindpassword")
	if err != nil {
		return login{}, err
	}

	bind := login{user: secrets["binddn"], password: secrets["bindpassword"]}
	if bind.user == "" || bind.password == "" {
		return login{}, fmt.Errorf("%s: bindDN or bindPassword is missing", path)
	}

	return bind, nil
}

// dial connects, by TLS unless the configuration says that it may be insecure.
func (d ldapDialer) dial(ctx context.Context) (*ldap.Conn, error) {
	boundLDAP()

	ctx, cancel := context.WithTimeout(ctx, ldapTimeout)
	defer cancel()

	port := d.cfg.Port
	if port == 0 {
		if port = ldapsPort; d.cfg.Insecure {
			port = ldapPort
		}
	}

	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(d.cfg.Address, strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}

	conn, err := d.secure(ctx, raw)
	if err != nil {
		return nil, errors.Join(err, raw.Close())
	}

	conn.SetTimeout(ldapTimeout)

	return conn, nil
}

// secure makes a connection of raw, which the caller closes if it cannot.
func (d ldapDialer) secure(ctx context.Context, raw net.Conn) (*ldap.Conn, error) {
	if !d.cfg.Insecure {
		encrypted := tls.Client(raw, d.tls)
		if err := encrypted.HandshakeContext(ctx); err != nil {
			return nil, err
		}

		conn := ldap.NewConn(encrypted, true)
		conn.Start()

		return conn, nil
	}

	conn := ldap.NewConn(raw, false)
	conn.Start()

	if !d.cfg.StartTLS {
		return conn, nil
	}

	// StartTLS takes no context.
	deadline, _ := ctx.Deadline()
	if err := raw.SetDeadline(deadline); err != nil {
		return nil, errors.Join(err, conn.Close())
	}

	if err := conn.StartTLS(d.tls); err != nil {
		return nil, errors.Join(fmt.Errorf("StartTLS: %w", err), conn.Close())
	}

	return conn, raw.SetDeadline(time.Time{})
}
