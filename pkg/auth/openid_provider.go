package auth

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"

	"zotregistry.io/zot/pkg/api/config"
)

const (
	// providerTimeout bounds each request to a provider.
	providerTimeout = 10 * time.Second

	// providerPause is how long a provider is left alone that could not be asked.
	providerPause = time.Second
)

// provider is an OpenID provider. It is asked for its endpoints when the first user logs in
// (OpenID Connect Discovery), and again until it has told them.
type provider struct {
	cfg    config.Provider
	back   string // where it sends browsers back to
	client *http.Client
	asking singleflight.Group

	mu     sync.Mutex     // guards what follows
	found  *oidc.Provider // nil = not yet
	failed error          // why not
	since  time.Time      // when that was
}

// newProvider reads the file that cfg names. Errors begin with the key.
func newProvider(cfg config.Provider, back string) (*provider, error) {
	if cfg.CredentialsFile != "" {
		secrets, err := readSecrets(cfg.CredentialsFile, "clientid", "clientsecret")
		if err != nil {
			return nil, fmt.Errorf("credentialsFile: %w", err)
		}

		cfg.ClientID = cmp.Or(secrets["clientid"], cfg.ClientID)
		cfg.ClientSecret = cmp.Or(secrets["clientsecret"], cfg.ClientSecret)
	}

	if cfg.ClientID == "" {
		return nil, errors.New("clientid: there is none")
	}

	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: providerTimeout, IdleConnTimeout: time.Minute,
	}

	client := &http.Client{Transport: boundedAnswers{transport}, Timeout: providerTimeout}

	return &provider{cfg: cfg, back: back, client: client}, nil
}

// discover returns what the provider says of itself.
//
// Errors: ErrUnavailable.
func (p *provider) discover(ctx context.Context) (*oidc.Provider, error) {
	if found, err := p.known(); found != nil || err != nil {
		return found, err
	}

	// The answer is for all who wait: it does not end with the request of one.
	ctx = oidc.ClientContext(context.WithoutCancel(ctx), p.client)

	_, err, _ := p.asking.Do("", func() (any, error) {
		found, err := oidc.NewProvider(ctx, p.cfg.Issuer)
		if err != nil {
			err = fmt.Errorf("%w: OpenID provider: %w", ErrUnavailable, err)
		}

		p.mu.Lock()
		defer p.mu.Unlock()

		p.found, p.failed, p.since = found, err, time.Now()

		return nil, err
	})
	if err != nil {
		return nil, err
	}

	return p.known()
}

// known returns what the provider has said, or that it could not a moment ago; neither if it
// is to be asked.
func (p *provider) known() (*oidc.Provider, error) {
	p.mu.Lock()
	defer p.mu.Unlock()

	if p.failed != nil && time.Since(p.since) > providerPause {
		p.failed = nil
	}

	return p.found, p.failed
}

// oauth is how we are known to the provider.
func (p *provider) oauth(found *oidc.Provider) (oauth2.Config, error) {
	var methods struct {
		Methods []string `json:"token_endpoint_auth_methods_supported"`
	}

	if err := found.Claims(&methods); err != nil {
		return oauth2.Config{}, fmt.Errorf("%w: OpenID provider: %w", ErrUnavailable, err)
	}

	// OpenID Connect Discovery, 3: without a list it is client_secret_basic. A client
	// without a secret has but a name to send.
	endpoint := found.Endpoint()
	endpoint.AuthStyle = oauth2.AuthStyleInHeader

	basic := len(methods.Methods) == 0 || slices.Contains(methods.Methods, "client_secret_basic")
	if p.cfg.ClientSecret == "" || !basic {
		endpoint.AuthStyle = oauth2.AuthStyleInParams
	}

	scopes := []string{oidc.ScopeOpenID, "email", "profile"}
	if len(p.cfg.Scopes) > 0 {
		scopes = append([]string{oidc.ScopeOpenID}, p.cfg.Scopes...)
	}

	slices.Sort(scopes)

	return oauth2.Config{
		ClientID: p.cfg.ClientID, ClientSecret: p.cfg.ClientSecret,
		Endpoint: endpoint, RedirectURL: p.back, Scopes: slices.Compact(scopes),
	}, nil
}

// loginURL is where the provider asks a user who he is.
//
// Errors: ErrUnavailable.
func (p *provider) loginURL(ctx context.Context, begun pending) (string, error) {
	found, err := p.discover(ctx)
	if err != nil {
		return "", err
	}

	client, err := p.oauth(found)
	if err != nil {
		return "", err
	}

	return client.AuthCodeURL(begun.State, oidc.Nonce(begun.Nonce), oauth2.S256ChallengeOption(begun.Verifier)), nil
}

// identify exchanges a code for an identity token, and returns whom it names. issuer is who
// says that the code is his, "" if nobody does.
//
// Errors: ErrLoginRefused, ErrUnavailable.
func (p *provider) identify(ctx context.Context, code, issuer string, begun pending) (User, error) {
	if issuer != "" && issuer != p.cfg.Issuer { // RFC 9207, 2.4
		return User{}, fmt.Errorf("%w: the code is of another issuer", ErrLoginRefused)
	}

	found, err := p.discover(ctx)
	if err != nil {
		return User{}, err
	}

	client, err := p.oauth(found)
	if err != nil {
		return User{}, err
	}

	ctx = oidc.ClientContext(ctx, p.client)

	tokens, err := client.Exchange(ctx, code, oauth2.VerifierOption(begun.Verifier))
	if err != nil {
		return User{}, exchangeError(err)
	}

	keys, verifier, err := p.keysOf(ctx, found)
	if err != nil {
		return User{}, err
	}

	identity, err := p.verify(ctx, keys, verifier, tokens, begun)
	if err != nil {
		return User{}, err
	}

	return p.userOf(identity, func() (members, error) {
		if found.UserInfoEndpoint() == "" {
			return members{}, nil
		}

		return p.userInfo(ctx, found.UserInfoEndpoint(), keys, tokens)
	})
}

// exchangeError tells a code that the provider does not take from a provider that does not
// take us. What it says besides is not repeated.
func exchangeError(err error) error {
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) {
		return fmt.Errorf("%w: OpenID provider: %w", ErrUnavailable, err)
	}

	switch refused.ErrorCode {
	case "invalid_grant", "access_denied":
		return fmt.Errorf("%w: the provider does not take the code", ErrLoginRefused)
	}

	return fmt.Errorf("%w: OpenID provider: status %d, %.64q",
		ErrUnavailable, refused.Response.StatusCode, refused.ErrorCode)
}

// verify checks the identity token (OpenID Connect Core, 3.1.3.7), and returns what it says. Its head is
// read before by us, who have a bound.
func (p *provider) verify(
	ctx context.Context, keys *keySet, verifier *oidc.IDTokenVerifier, tokens *oauth2.Token, begun pending,
) (members, error) {
	raw, ok := tokens.Extra("id_token").(string)
	if !ok {
		return nil, fmt.Errorf("%w: the provider gives no identity token", ErrLoginRefused)
	}

	if _, err := parseToken(raw); err != nil {
		return nil, fmt.Errorf("%w: identity token: %w", ErrLoginRefused, err)
	}

	identity, err := verifier.Verify(ctx, raw)
	if err != nil {
		return nil, keys.tokenError("identity token", err)
	}

	claims, err := claimsOf(identity)
	if err != nil {
		return nil, fmt.Errorf("%w: identity token: %w", ErrLoginRefused, err)
	}

	var party string
	if err := claims.decode("azp", &party); err != nil {
		return nil, fmt.Errorf("%w: identity token: %w", ErrLoginRefused, err)
	}

	switch {
	case subtle.ConstantTimeCompare([]byte(identity.Nonce), []byte(begun.Nonce)) != 1:
		return nil, fmt.Errorf("%w: the identity token was made for another login", ErrLoginRefused)
	case party != "" && party != p.cfg.ClientID,
		party == "" && len(identity.Audience) > 1:
		return nil, fmt.Errorf("%w: the identity token was made for someone else", ErrLoginRefused)
	case identity.AccessTokenHash != "" && identity.VerifyAccessToken(tokens.AccessToken) != nil:
		return nil, fmt.Errorf("%w: the access token is of another login", ErrLoginRefused)
	}

	return claims, nil
}
