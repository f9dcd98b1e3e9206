package auth

import (
	"strings"
	"testing"
)

func TestScope(t *testing.T) {
	scope := &Scope{access: []Access{
		{"repository", "a", []string{"pull"}},
		{"repository", "b", []string{"*"}},
		{"repository", "a", []string{"delete"}},
		{"registry", "catalog", []string{"*"}},
		{"repository", "*", []string{"*"}},
		{"repository", "c", nil},
	}}

	for needs, want := range map[string]bool{
		"":                           true,
		"repository:a:pull":          true,
		"repository:a:push":          false,
		"repository:a:pull,push":     false,
		"repository:a:delete":        true,
		"repository:a:pull,delete":   true,
		"repository:b:pull,push":     true,
		"repository:aa:pull":         false,
		"repository:c:pull":          false,
		"repository:d:pull":          false,
		"registry:catalog:*":         true,
		"registry:a:pull":            false,
		"repository(plugin):a:pull":  false,
		"repository:b:pull,x,y,push": true,
	} {
		equal(t, scope.Allows(parseAccess(needs)), want, needs)
		equal(t, (*Scope)(nil).Allows(parseAccess(needs)), true, needs+" without a token")
		equal(t, (&Scope{}).Allows(parseAccess(needs)), needs == "", needs+" with a token for nothing")
		equal(t, parseAccess(needs).String(), needs, "as a scope")
	}
}

// parseAccess is the inverse of Access.String.
func parseAccess(text string) Access {
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return Access{}
	}

	return Access{Type: parts[0], Name: parts[1], Actions: strings.Split(parts[2], ",")}
}
