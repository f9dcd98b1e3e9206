package auth

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"zotregistry.io/zot/pkg/api/config"
)

// clockSkew is how far the clock of who signs tokens may be off.
const clockSkew = time.Minute

// maxKnownToken is how long a token may be that is remembered, in bytes. It bounds what 4096
// of them take.
const maxKnownToken = 4 << 10

// errToken: a token is not to be taken.
var errToken = fmt.Errorf("%w: invalid token", ErrUnauthorized)

// bearer is the way of tokens that another service signs: Docker's token protocol. What a
// token allows is its bearer's Scope.
type bearer struct {
	realm   string // URL of that service
	service string // what it calls this registry
	keys    []publicKey
	known   *remembered // tokens that were right a moment ago: to verify one takes 0.1 ms
}

func openBearer(cfg config.Bearer) (*bearer, error) {
	keys, err := readKeys(cfg.Cert)
	if err != nil {
		return nil, fmt.Errorf("http.auth.bearer.cert: %w", err)
	}

	return &bearer{realm: cfg.Realm, service: cfg.Service, keys: keys, known: newRemembered(rememberFor)}, nil
}

// User implements Way. A token may have no name in it; it is good all the same.
func (b *bearer) User(r *http.Request) (User, error) {
	token, ok := bearerToken(r)
	if !ok {
		return User{}, errNotMine
	}

	mark, now := b.known.mark("", token), time.Now()
	if user, ok := b.known.get(mark, now); ok {
		return user, nil
	}

	said, err := b.verify(token, now)
	if err != nil {
		return User{}, fmt.Errorf("%w: %w", errToken, err)
	}

	user := User{Name: said.subject, Scope: &Scope{access: said.access}}

	if len(token) <= maxKnownToken {
		b.known.addUntil(mark, user, now, earliest(now.Add(b.known.life), said.expires.Add(clockSkew)))
	}

	return user, nil
}

// verify returns what a token says. That is read once one of the keys has signed it: to everyone else
// a token is as much work as it has bytes.
func (b *bearer) verify(text string, now time.Time) (claims, error) {
	token, err := parseToken(text)
	if err != nil {
		return claims{}, err
	}

	if err := b.verifySignature(token); err != nil {
		return claims{}, err
	}

	payload, err := tokenBase64.DecodeString(token.payload)
	if err != nil {
		return claims{}, fmt.Errorf("claims: %w", err)
	}

	said, err := parseClaims(payload)
	if err != nil {
		return claims{}, fmt.Errorf("claims: %w", err)
	}

	return said, said.check(b.service, now)
}

// bearerToken returns the token of a request (RFC 6750, 2.1).
func bearerToken(r *http.Request) (token string, ok bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")

	return strings.TrimSpace(token), strings.EqualFold(scheme, "Bearer")
}

// verifySignature tries the keys of the token's algorithm.
func (b *bearer) verifySignature(token signedToken) error {
	for _, key := range b.keys {
		if !slices.Contains(key.algorithms, token.algorithm) {
			continue
		}

		method := jwt.GetSigningMethod(token.algorithm)
		if method.Verify(token.signed, token.signature, key.PublicKey) == nil {
			return nil
		}
	}

	return errors.New("none of the keys has signed it")
}

// Challenge implements Way.
func (b *bearer) Challenge(why error, needs Access) string {
	return challengeToken(b.realm, b.service, why, needs)
}
