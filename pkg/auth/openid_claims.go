package auth

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const (
	emailClaim  = "email"
	groupsClaim = "groups"

	// maxGroups bounds the groups of a user: they are kept with his session.
	maxGroups = 500
)

// userOf makes a user of claims: those of the identity token and, where that lacks one, of the
// UserInfo endpoint.
//
// Errors: ErrLoginRefused, ErrUnavailable.
func (p *provider) userOf(
	ctx context.Context, found *oidc.Provider, identity *oidc.IDToken, tokens oauth2.TokenSource,
) (User, error) {
	var claims map[string]any
	if err := identity.Claims(&claims); err != nil {
		return User{}, fmt.Errorf("%w: identity token: %w", ErrLoginRefused, err)
	}

	nameClaim := cmp.Or(p.cfg.ClaimMapping.Username, emailClaim)
	groupsClaim := cmp.Or(p.cfg.ClaimMapping.Groups, groupsClaim)
	_, named := claims[nameClaim]
	_, grouped := claims[groupsClaim]

	if (!named || !grouped) && found.UserInfoEndpoint() != "" {
		if err := addUserInfo(ctx, found, identity, tokens, claims); err != nil {
			return User{}, err
		}
	}

	name, err := nameOf(claims, nameClaim)
	if err != nil {
		return User{}, err
	}

	groups, err := groupsOf(claims, groupsClaim)

	return User{Name: name, Groups: groups}, err
}

// addUserInfo adds the claims that the identity token does not have. They have to be of the
// same user (OpenID Connect Core, 5.3.2).
func addUserInfo(
	ctx context.Context, found *oidc.Provider, identity *oidc.IDToken, tokens oauth2.TokenSource, claims map[string]any,
) error {
	info, err := found.UserInfo(ctx, tokens)
	if err != nil {
		return askError("UserInfo", err)
	}

	if info.Subject != identity.Subject {
		return fmt.Errorf("%w: UserInfo is of someone else", ErrLoginRefused)
	}

	var more map[string]any
	if err := info.Claims(&more); err != nil {
		return fmt.Errorf("%w: UserInfo: %w", ErrLoginRefused, err)
	}

	for claim, value := range more {
		if _, ok := claims[claim]; !ok {
			claims[claim] = value
		}
	}

	return nil
}

// nameOf takes no address of which the provider says that it may be someone else's.
func nameOf(claims map[string]any, claim string) (string, error) {
	name, ok := claims[claim].(string)

	switch verified := claims["email_verified"]; {
	case !ok || name == "":
		return "", fmt.Errorf("%w: there is no claim %q of a name", ErrLoginRefused, claim)
	case len(name) > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return "", fmt.Errorf("%w: the claim %q is no name of a user", ErrLoginRefused, claim)
	case claim == emailClaim && (verified == false || verified == "false"):
		return "", fmt.Errorf("%w: the address was not verified", ErrLoginRefused)
	}

	return name, nil
}

// groupsOf takes a list, or one name. Without the claim there are none.
func groupsOf(claims map[string]any, claim string) ([]string, error) {
	var groups []string

	switch value := claims[claim].(type) {
	case nil:
	case string:
		groups = []string{value}
	case []any:
		for _, one := range value {
			group, ok := one.(string)
			if !ok {
				return nil, fmt.Errorf("%w: the claim %q is no list of names", ErrLoginRefused, claim)
			}

			groups = append(groups, group)
		}
	default:
		return nil, fmt.Errorf("%w: the claim %q is no list of names", ErrLoginRefused, claim)
	}

	if len(groups) > maxGroups {
		return nil, fmt.Errorf("%w: the user is in more than %d groups", ErrLoginRefused, maxGroups)
	}

	return groups, nil
}
