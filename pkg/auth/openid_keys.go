package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
)

// identityAlgorithms are those by which providers may sign: none has a secret that both sides know.
var identityAlgorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA,
}

// keySet is the keys of a provider, for one login. It tells a token that they have not signed from keys
// that could not be had, which oidc.IDTokenVerifier does not.
type keySet struct {
	remote *oidc.RemoteKeySet
	unread error // why they could not be had; nil = they were, or nobody needed them
}

// keysOf asks for the keys when they are needed.
func (p *provider) keysOf(ctx context.Context, found *oidc.Provider) (*keySet, *oidc.IDTokenVerifier, error) {
	var says struct {
		Keys       string   `json:"jwks_uri"`
		Algorithms []string `json:"id_token_signing_alg_values_supported"`
	}

	if err := found.Claims(&says); err != nil {
		return nil, nil, fmt.Errorf("%w: OpenID provider: %w", ErrUnavailable, err)
	}

	algorithms := slices.DeleteFunc(says.Algorithms, func(name string) bool { return !slices.Contains(identityAlgorithms, name) })
	keys := &keySet{remote: oidc.NewRemoteKeySet(ctx, says.Keys)}

	return keys, oidc.NewVerifier(p.cfg.Issuer, keys, &oidc.Config{
		ClientID: p.cfg.ClientID, SupportedSigningAlgs: algorithms,
	}), nil
}

// VerifySignature implements oidc.KeySet.
func (k *keySet) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	payload, err := k.remote.VerifySignature(ctx, token)
	if errors.Unwrap(err) != nil { // it wraps why it has no keys, and nothing else
		k.unread = err
	}

	return payload, err
}

// tokenError says whose fault it is that a token was not taken.
func (k *keySet) tokenError(what string, err error) error {
	if k.unread != nil {
		return fmt.Errorf("%w: OpenID provider: keys: %w", ErrUnavailable, k.unread)
	}

	return fmt.Errorf("%w: %s: %w", ErrLoginRefused, what, err)
}

// registered are the claims that oidc looks at, whatever the case of their letters is.
var registered = []string{"iss", "sub", "aud", "exp", "iat", "nbf", "nonce", "at_hash", "_claim_names", "_claim_sources"}

// claimsOf are those of an identity token. It refuses names that oidc has taken for others.
func claimsOf(identity *oidc.IDToken) (members, error) {
	var data json.RawMessage
	if err := identity.Claims(&data); err != nil {
		return nil, err
	}

	claims, err := parseMembers(data)
	if err != nil {
		return nil, err
	}

	for name := range claims {
		if !slices.Contains(registered, name) &&
			slices.ContainsFunc(registered, func(known string) bool { return strings.EqualFold(name, known) }) {
			return nil, fmt.Errorf("%+.64q is written in another way", name)
		}
	}

	_, err = claims.date("nbf") // oidc takes 1e300 for a date long ago

	return claims, err
}
