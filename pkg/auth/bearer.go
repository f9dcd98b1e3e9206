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
	parser  *jwt.Parser
	known   *remembered // tokens that were right a moment ago: to verify one takes 0.1 ms
}

// claims are what a token says: docs/authentication.md.
type claims struct {
	jwt.RegisteredClaims

	Access []struct {
		Type    string   `json:"type"`
		Name    string   `json:"name"`
		Actions []string `json:"actions"`
	} `json:"access"`
}

func openBearer(cfg config.Bearer) (*bearer, error) {
	keys, err := readKeys(cfg.Cert)
	if err != nil {
		return nil, fmt.Errorf("http.auth.bearer.cert: %w", err)
	}

	return &bearer{
		realm:   cfg.Realm,
		service: cfg.Service,
		keys:    keys,
		known:   newRemembered(rememberFor),
		parser: jwt.NewParser(
			jwt.WithValidMethods(algorithms(keys)),
			jwt.WithAudience(cfg.Service),
			jwt.WithExpirationRequired(),
			jwt.WithLeeway(clockSkew),
			jwt.WithStrictDecoding(),
		),
	}, nil
}

// User implements Way. A token may have no name in it; it is good all the same.
func (b *bearer) User(r *http.Request) (User, error) {
	token, ok := bearerToken(r)
	if !ok {
		return User{}, errNotMine
	}

	mark := b.known.mark("", token)
	if user, ok := b.known.get(mark, time.Now()); ok {
		return user, nil
	}

	var said claims
	if _, err := b.parser.ParseWithClaims(token, &said, b.keyFor); err != nil {
		return User{}, fmt.Errorf("%w: %w", errToken, err)
	}

	scope := &Scope{}
	for _, a := range said.Access {
		scope.access = append(scope.access, Access{Type: a.Type, Name: a.Name, Actions: a.Actions})
	}

	user := User{Name: said.Subject, Scope: scope}

	if len(token) <= maxKnownToken {
		now := time.Now()
		b.known.addUntil(mark, user, now, earliest(now.Add(b.known.life), said.ExpiresAt.Add(clockSkew)))
	}

	return user, nil
}

// bearerToken returns the token of a request (RFC 6750, 2.1).
func bearerToken(r *http.Request) (token string, ok bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")

	return strings.TrimSpace(token), strings.EqualFold(scheme, "Bearer")
}

// keyFor returns the keys that may have signed a token by its algorithm.
func (b *bearer) keyFor(token *jwt.Token) (any, error) {
	var set jwt.VerificationKeySet

	for _, key := range b.keys {
		if slices.Contains(key.algorithms, token.Method.Alg()) {
			set.Keys = append(set.Keys, key.PublicKey)
		}
	}

	if len(set.Keys) == 0 {
		return nil, errors.New("no key for this algorithm")
	}

	return set, nil
}

// Challenge implements Way.
func (b *bearer) Challenge(why error, needs Access) string {
	return challengeToken(b.realm, b.service, why, needs)
}
