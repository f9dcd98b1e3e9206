package auth

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"zotregistry.io/zot/pkg/api/config"
)

const (
	// TokenPath is where clients get a token.
	TokenPath = "/zot/auth/token"

	// TokenLife is how long a token is good: as long as a password is not checked again.
	TokenLife = rememberFor
)

// Tokens is the way of tokens that zot itself gives, by Docker's token protocol: to who logs in with
// a password or an API key, and to everyone else one of nobody.
//
// It is for registries where everyone may do something. docker asks /v2/ once whether to log in:
// if the answer is 200, it never says who it is, and if it is 401 for a password, it does nothing without one. A
// token it gets with a name or without.
//
// A token says who its bearer is. What he may do is decided at each request.
type Tokens struct {
	seal    sealer
	realm   string // where clients get one
	service string // what this registry is called
	now     func() time.Time
}

// token is what is sealed in one.
type token struct {
	Name    string
	Groups  []string
	ByKey   bool
	Access  []Access // of an API key that is for some things only; nil = no limit
	Expires time.Time
}

// GivesTokens says whether zot itself gives tokens: somebody has a password, clients can be told
// where to get one, and all replicas have the key of it. They are told where everyone may do something.
func GivesTokens(cfg config.HTTP) bool {
	passwords := cfg.Auth.HTPasswd != nil || cfg.Auth.LDAP != nil || cfg.Auth.APIKey || cfg.Auth.OpenID != nil

	return passwords && cfg.ExternalURL != "" && cfg.Auth.SessionKeysFile != "" && cfg.Auth.Bearer == nil
}

func openTokens(cfg config.HTTP) (*Tokens, error) {
	seal, err := newSealer(cfg.Auth.SessionKeysFile, "token")
	if err != nil {
		return nil, fmt.Errorf("http.auth.sessionKeysFile: %w", err)
	}

	external, err := url.Parse(cfg.ExternalURL)
	if err != nil {
		return nil, fmt.Errorf("http.externalUrl: %w", err)
	}

	realm := strings.TrimRight(cfg.ExternalURL, "/") + TokenPath

	return &Tokens{seal: seal, realm: realm, service: external.Host, now: time.Now}, nil
}

// Give returns a token of a user, who may be nobody.
func (t *Tokens) Give(user User) (string, error) {
	content := token{Name: user.Name, Groups: user.Groups, ByKey: user.ByKey, Expires: t.now().Add(TokenLife)}
	if user.Scope != nil {
		content.Access = append([]Access{}, user.Scope.access...)
	}

	return t.seal.seal(content)
}

// User implements Way.
func (t *Tokens) User(r *http.Request) (User, error) {
	text, ok := bearerToken(r)
	if !ok {
		return User{}, errNotMine
	}

	var content token
	if err := t.seal.open(text, &content); err != nil {
		return User{}, fmt.Errorf("%w: %w", errToken, err)
	}

	if !t.now().Before(content.Expires) {
		return User{}, fmt.Errorf("%w: it has expired", errToken)
	}

	user := User{Name: content.Name, Groups: content.Groups, ByKey: content.ByKey, ByToken: true}
	if content.Access != nil {
		user.Scope = &Scope{access: content.Access}
	}

	return user, nil
}

// Challenge implements Way. Where everyone has to log in, a password does.
func (t *Tokens) Challenge(error, Access) string { return "" }

// challenge asks for a token, and for nothing else: a client that was asked for a password, too,
// and has none, would give up.
func (t *Tokens) challenge(why error, needs Access) string {
	return challengeToken(t.realm, t.service, why, needs)
}

// challengeToken is RFC 6750, 3.
func challengeToken(realm, service string, why error, needs Access) string {
	text := "Bearer realm=" + quote(realm) + ",service=" + quote(service)

	if scope := needs.String(); scope != "" {
		text += ",scope=" + quote(scope)
	}

	switch {
	case errors.Is(why, ErrScope):
		text += `,error="insufficient_scope"`
	case errors.Is(why, errToken):
		text += `,error="invalid_token"`
	}

	return text
}
