package auth

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	emailClaim  = "email"
	groupsClaim = "groups"

	// maxGroups bounds the groups of a user, and maxGroup the name of one, in bytes: they are kept
	// with his session.
	maxGroups = 500
	maxGroup  = 1 << 10
)

// userOf makes a user of claims: those of the identity token and, where that lacks one, of the
// UserInfo endpoint.
//
// Errors: ErrLoginRefused, ErrUnavailable.
func (p *provider) userOf(claims members, askMore func() (members, error)) (User, error) {
	nameClaim := cmp.Or(p.cfg.ClaimMapping.Username, emailClaim)
	groupsClaim := cmp.Or(p.cfg.ClaimMapping.Groups, groupsClaim)
	_, named := claims[nameClaim]
	_, grouped := claims[groupsClaim]

	if !named || !grouped {
		more, err := askMore()
		if err != nil {
			return User{}, err
		}

		if err := addUserInfo(claims, more); err != nil {
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
func addUserInfo(claims, more members) error {
	if len(more) == 0 {
		return nil
	}

	var subject, other string
	if err := errors.Join(claims.decode("sub", &subject), more.decode("sub", &other)); err != nil {
		return fmt.Errorf("%w: UserInfo: %w", ErrLoginRefused, err)
	}

	if subject == "" || subject != other {
		return fmt.Errorf("%w: UserInfo is of someone else", ErrLoginRefused)
	}

	for claim, value := range more {
		if _, ok := claims[claim]; !ok {
			claims[claim] = value
		}
	}

	return nil
}

// nameOf takes no address of which the provider says that it may be someone else's.
func nameOf(claims members, claim string) (string, error) {
	var name string

	switch err := claims.decode(claim, &name); {
	case err != nil || name == "":
		return "", fmt.Errorf("%w: there is no claim %q of a name", ErrLoginRefused, claim)
	case len(name) > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return "", fmt.Errorf("%w: the claim %q is no name of a user", ErrLoginRefused, claim)
	case claim == emailClaim && unverified(claims):
		return "", fmt.Errorf("%w: the address was not verified", ErrLoginRefused)
	}

	return name, nil
}

// unverified says whether the provider does not vouch for the address: where it says anything, that
// has to be true, which some write as a string.
func unverified(claims members) bool {
	if _, said := claims["email_verified"]; !said {
		return false
	}

	verified, text := false, ""

	_ = claims.decode("email_verified", &verified) // or it is no boolean
	_ = claims.decode("email_verified", &text)     // or no string

	return !verified && text != "true"
}

// groupsOf takes a list, or one name. Without the claim there are none.
func groupsOf(claims members, claim string) ([]string, error) {
	groups, err := claims.names(claim)
	if err != nil {
		return nil, fmt.Errorf("%w: the claim %q is no list of names", ErrLoginRefused, claim)
	}

	if len(groups) > maxGroups {
		return nil, fmt.Errorf("%w: the user is in more than %d groups", ErrLoginRefused, maxGroups)
	}

	if slices.ContainsFunc(groups, func(group string) bool { return len(group) > maxGroup }) {
		return nil, fmt.Errorf("%w: a group has a name of more than %d bytes", ErrLoginRefused, maxGroup)
	}

	return groups, nil
}
