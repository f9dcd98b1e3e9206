// Package auth finds out who sends a request. Read this file first: a User is who that
// may be, a Way is one way to say so (basic.go, bearer.go, mtls.go, openid.go), and Ways are
// those that are configured.
//
// What a user may do is no matter of this package; what a token lets its bearer do is
// (scope.go).
package auth

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"zotregistry.io/zot/pkg/api/config"
)

// Errors of User.
var (
	// ErrUnauthorized: the credentials are wrong, or there are none where some are needed.
	ErrUnauthorized = errors.New("authentication required")

	// ErrUnavailable: nobody can say whether they are right, a directory is down.
	ErrUnavailable = errors.New("cannot authenticate now")

	// ErrScope is an ErrUnauthorized: another token would do.
	ErrScope = fmt.Errorf("%w: the token does not allow this", ErrUnauthorized)

	// ErrCertificate is an ErrUnauthorized: a new connection, with another certificate, may do.
	ErrCertificate = fmt.Errorf("%w: the client certificate is not good any more", ErrUnauthorized)
	// errNotMine: there are no credentials that a way understands.
	errNotMine = errors.New("no credentials of this kind")
)

// User is who sent a request. The zero User is anonymous.
type User struct {
	Name   string
	Groups []string // as the way says them; those of a configuration come with its rules
	Scope  *Scope   // what the token or API key allows; nil = no limit
	ByKey  bool     // the user came with an API key

	ByToken bool // the user came with a token that zot has given
}

// Anonymous says whether nobody has vouched for the user.
func (u User) Anonymous() bool { return u.Name == "" && u.Scope == nil }

// Way is one way to say who one is. Methods are called concurrently.
type Way interface {
	// User returns who sent r.
	//
	// Errors: errNotMine, ErrUnauthorized, ErrUnavailable, *TooManyError; that of the
	// context if the client has left.
	User(r *http.Request) (User, error)

	// Challenge is what WWW-Authenticate asks of a client (RFC 9110, 11.6.1) that was
	// refused, and what a token would have to allow for its request; "" = nothing.
	Challenge(why error, needs Access) string
}

// Ways are those that are configured. Close closes their connections.
type Ways struct {
	ways     []Way
	bearer   *bearer   // nil = no tokens
	basic    *basic    // nil = no passwords
	attempts *attempts // to guess passwords
	keys     *Keys     // nil = there are none
	openID   *OpenID   // nil = browsers do not log in
	tokens   *Tokens   // nil = zot gives none
}

// Open reads the files that cfg names, and connects to nothing. API keys and sessions are in
// notes.
func Open(cfg config.HTTP, notes Notes) (*Ways, error) {
	all := &Ways{}

	if cfg.Auth.APIKey || cfg.Auth.OpenID != nil { // what else would programs send
		all.keys = openKeys(notes)
	}

	if cfg.Auth.OpenID != nil {
		var err error
		if all.openID, err = openOpenID(cfg, notes); err != nil {
			return nil, err
		}
	}

	var err error
	if all.attempts, err = newAttempts(); err != nil {
		return nil, err
	}

	if err := all.open(cfg, &Ways{}); err != nil {
		return nil, err
	}

	return all, nil
}

// open opens all but API keys and logins by browsers. What old has opened from the same
// settings and the same files is taken from there.
func (w *Ways) open(cfg config.HTTP, old *Ways) error {
	if cfg.Auth.Bearer != nil {
		tokens, err := openBearer(*cfg.Auth.Bearer)
		if err != nil {
			return err
		}

		w.bearer = tokens.orSame(old.bearer)
		w.ways = append(w.ways, w.bearer)
	}

	if GivesTokens(cfg) {
		if w.tokens = old.tokens; w.tokens == nil {
			var err error
			if w.tokens, err = openTokens(cfg); err != nil {
				return err
			}
		}

		w.ways = append(w.ways, w.tokens)
	}

	passwords, err := openBasic(cfg, w.keys, w.attempts)
	if err != nil {
		return err
	}

	if passwords != nil {
		passwords.keep(old.basic)
		w.basic = passwords
		w.ways = append(w.ways, passwords)
	}

	if w.openID != nil {
		w.ways = append(w.ways, w.openID)
	}

	certificates, err := openMTLS(cfg)
	if err != nil {
		return err
	}

	if certificates != nil {
		w.ways = append(w.ways, certificates)
	}

	return nil
}

// User returns who sent r: the first way that understands its credentials says so. Without
// credentials, and where there is no way at all, it is the anonymous one, who may not be
// allowed anything.
//
// Errors: ErrUnauthorized, ErrUnavailable, *TooManyError; that of the context if the client
// has left.
func (w *Ways) User(r *http.Request) (User, error) {
	for _, way := range w.ways {
		user, err := way.User(r)
		if !errors.Is(err, errNotMine) {
			return user, err
		}
	}

	if len(w.ways) > 0 && r.Header.Get("Authorization") != "" {
		return User{}, fmt.Errorf("%w: no way takes these credentials", ErrUnauthorized)
	}

	return User{}, nil
}

// Keys are the API keys of users, nil if there are none.
func (w *Ways) Keys() *Keys { return w.keys }

// OpenID is how browsers log in, nil if they do not.
func (w *Ways) OpenID() *OpenID { return w.openID }

// Tokens are those that zot gives, nil if it gives none.
func (w *Ways) Tokens() *Tokens { return w.tokens }

// Any says whether there is a way at all.
func (w *Ways) Any() bool { return len(w.ways) > 0 }

// Close closes what ways keep open. Requests may still come, and are answered: a connection
// that they open they close.
func (w *Ways) Close() error {
	var errs []error
	for _, open := range w.closers() {
		errs = append(errs, open.Close())
	}

	return errors.Join(errs...)
}

// closers are what keeps something open.
func (w *Ways) closers() []io.Closer {
	var all []io.Closer

	if w.basic != nil {
		all = w.basic.closers()
	}

	if w.openID != nil {
		all = append(all, w.openID)
	}

	return all
}

// Challenges are the values of WWW-Authenticate for a client that was refused: why, and what
// a token would have to allow for its request. With open everyone may do something here.
func (w *Ways) Challenges(why error, needs Access, open bool) []string {
	if open && w.tokens != nil {
		return []string{w.tokens.challenge(why, needs)}
	}

	var all []string
	for _, way := range w.ways {
		if challenge := way.Challenge(why, needs); challenge != "" {
			all = append(all, challenge)
		}
	}

	return all
}

// quote makes a quoted-string (RFC 9110, 5.6.4).
func quote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}
