package auth

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"zotregistry.io/zot/pkg/api/config"
)

// sessionKeys writes a sessionKeysFile.
func sessionKeys(t *testing.T, letter string) string {
	t.Helper()

	path := filepath.Join(t.TempDir(), "keys.json")

	return must(t, path, os.WriteFile(path, []byte(`{"hashKey": "`+strings.Repeat(letter, minHashKey)+`"}`), 0o600))
}

func TestGivenTokens(t *testing.T) {
	cfg := config.HTTP{ExternalURL: "https://zot.example/"}
	cfg.Auth.SessionKeysFile = sessionKeys(t, "k")

	tokens, err := openTokens(cfg)
	must(t, tokens, err)

	replica, err := openTokens(cfg)
	must(t, replica, err)

	cfg.Auth.SessionKeysFile = sessionKeys(t, "x")

	other, err := openTokens(cfg)
	must(t, other, err)

	now := time.Now()
	tokens.now = func() time.Time { return now }

	user := User{Name: "ann", Groups: []string{"dev"}, ByKey: true, Scope: &Scope{access: []Access{{Type: "repository", Name: "a", Actions: []string{"*"}}}}}

	given, err := tokens.Give(user)
	must(t, given, err)

	user.ByToken = true

	for _, row := range []struct {
		of    *Tokens
		text  string
		after time.Duration
		want  error
	}{
		{tokens, "Bearer " + given, 0, nil},
		{replica, "Bearer " + given, 0, nil},
		{tokens, "bearer  " + given, TokenLife - time.Second, nil},
		{tokens, "Bearer " + given, TokenLife, errToken},
		{tokens, "Bearer " + given + "A", 0, errToken},
		{tokens, "Bearer", 0, errToken},
		{other, "Bearer " + given, 0, errToken},
		{tokens, "Basic " + given, 0, errNotMine},
		{tokens, "", 0, errNotMine},
	} {
		r := &http.Request{Header: http.Header{"Authorization": {row.text}}}

		tokens.now = func() time.Time { return now.Add(row.after) }

		got, err := row.of.User(r)
		equal(t, errors.Is(err, row.want), true, row.text)

		if row.want == nil {
			equal(t, reflect.DeepEqual(got, user), true, row.text)
		}
	}

	// One that is for nothing does not become one that is for everything.
	given, err = tokens.Give(User{Name: "ann", Scope: &Scope{}})
	must(t, given, err)

	got, err := tokens.User(&http.Request{Header: http.Header{"Authorization": {"Bearer " + given}}})
	must(t, got, err)
	equal(t, got.Scope.Allows(Access{Type: "repository", Name: "a", Actions: []string{"pull"}}), false, "scope of nothing")
}
