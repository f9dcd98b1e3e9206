package auth

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// claims are what a token says (RFC 7519, 4.1): docs/authentication.md.
type claims struct {
	subject   string
	audience  []string
	expires   time.Time // zero = never
	notBefore time.Time // zero = no matter when
	access    []Access
}

// parseClaims reads those of a token whose signature is right.
func parseClaims(data []byte) (claims, error) {
	all, err := parseMembers(data)
	if err != nil {
		return claims{}, err
	}

	var said claims

	if said.audience, err = all.names("aud"); err != nil {
		return claims{}, err
	}

	if said.expires, err = all.date("exp"); err != nil {
		return claims{}, err
	}

	if said.notBefore, err = all.date("nbf"); err != nil {
		return claims{}, err
	}

	if said.access, err = all.access(); err != nil {
		return claims{}, err
	}

	if err := all.decode("sub", &said.subject); err != nil {
		return claims{}, err
	}

	if len(said.subject) > maxName {
		return claims{}, fmt.Errorf("sub: longer than %d bytes", maxName)
	}

	return said, nil
}

// access is the claim of Docker's token protocol.
func (m members) access() ([]Access, error) {
	var said []struct {
		Type    string   `json:"type"`
		Name    string   `json:"name"`
		Actions []string `json:"actions"`
	}

	if err := m.decode("access", &said); err != nil {
		return nil, err
	}

	all := make([]Access, 0, len(said))
	for _, a := range said {
		all = append(all, Access{Type: a.Type, Name: a.Name, Actions: a.Actions})
	}

	return all, nil
}

// date is a NumericDate (RFC 7519, 2), zero if it is not there. One that no calendar has is an error:
// as a time.Time it would be another one.
func (m members) date(name string) (time.Time, error) {
	var seconds *float64
	if err := m.decode(name, &seconds); err != nil || seconds == nil {
		return time.Time{}, err
	}

	const year10000 = 253402300800
	if *seconds < 0 || *seconds >= year10000 {
		return time.Time{}, fmt.Errorf("%s: no date", name)
	}

	whole, part := math.Modf(*seconds)

	return time.Unix(int64(whole), int64(part*float64(time.Second))), nil
}

// check says whether the token is good now, for a service.
func (c claims) check(service string, now time.Time) error {
	switch {
	case c.expires.IsZero():
		return errors.New("it never expires")
	case !now.Before(c.expires.Add(clockSkew)):
		return errors.New("it has expired")
	case now.Before(c.notBefore.Add(-clockSkew)):
		return errors.New("it is not good yet")
	case !slices.Contains(c.audience, service):
		return errors.New("it is for another service")
	}

	return nil
}
