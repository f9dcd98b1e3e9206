package api

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zotregistry.io/zot/pkg/api/config"
)

// byOwnToken is to log in with a password, and to go on with the token that zot gives for it.
func byOwnToken(t *testing.T) way {
	t.Helper()

	passwords := byPassword(t)
	keys := filepath.Join(t.TempDir(), "session-keys.json")

	if err := os.WriteFile(keys, []byte(`{"hashKey": "`+strings.Repeat("k", 32)+`"}`), 0o600); err != nil {
		t.Fatal(err)
	}

	return way{
		name: "own token",
		configure: func(cfg *config.HTTP) {
			passwords.configure(cfg)
			cfg.ExternalURL, cfg.Auth.SessionKeysFile, cfg.Auth.APIKey = site, keys, true
		},
		as: func(c *client, user string) []string {
			if user == "" {
				return nil
			}

			return []string{c.token("", basic(user, "right"))}
		},
		wrong: []string{
			basic("all", "wrong"), "Authorization: Bearer right", "Authorization: Bearer", "Authorization: Bearer " + strings.Repeat("A", 200),
		},
		challenge: "Basic ",
		open:      "Bearer ",
		second:    true,
		token:     true,
	}
}

// token gets a token, and returns the header that has it.
func (c *client) token(query string, credentials ...string) string {
	c.t.Helper()

	a := c.get("/zot/auth/token"+query, credentials...).expect(c.t, http.StatusOK)
	equal(c.t, a.Header.Get("Cache-Control"), "no-store", "caching")

	var given struct {
		Token   string `json:"token"`
		Again   string `json:"access_token"`
		Expires int    `json:"expires_in"`
	}

	c.must(json.Unmarshal([]byte(a.body), &given))
	equal(c.t, given.Again, given.Token, "access_token")
	equal(c.t, given.Expires, 300, "expires_in")

	return "Authorization: Bearer " + given.Token
}

// A client does as docker does: it asks /v2/, gets a token where that says, with a name or
// without, and sends it from then on.
func TestOwnTokens(t *testing.T) {
	registry, _, _ := keeper(t)
	cfg := config.HTTP{AccessControl: limited("read")}
	byOwnToken(t).configure(&cfg)

	c := dialWith(t, cfg, registry)
	public, secret := "/v2/public/app/tags/list", "/v2/secret/app/tags/list"

	asked := c.get("/v2/").expect(t, http.StatusUnauthorized)
	equal(t, asked.Header.Get("WWW-Authenticate"), `Bearer realm="`+site+`/zot/auth/token",service="zot.example"`, "challenge")

	const query = "?service=zot.example&scope=repository:secret/app:pull"

	nobody := c.token(query)
	c.get("/v2/", nobody).expect(t, http.StatusOK)
	c.get(public, nobody).expect(t, http.StatusOK)
	asked = c.get(secret, nobody).expect(t, http.StatusUnauthorized)
	equal(t, strings.HasSuffix(asked.Header.Get("WWW-Authenticate"), `,scope="repository:secret/app:pull"`), true, "challenge for more")

	reader := c.token(query, basic("read", "right"))
	c.get("/v2/", reader).expect(t, http.StatusOK)
	c.get(secret, reader).expect(t, http.StatusOK)
	c.send(http.MethodPost, "/v2/secret/app/blobs/uploads/", "", reader).expect(t, http.StatusForbidden)

	// As before, without any token.
	c.get(public).expect(t, http.StatusOK)
	c.get(secret, basic("read", "right")).expect(t, http.StatusOK)

	wrong := c.get("/zot/auth/token"+query, basic("read", "wrong")).expect(t, http.StatusUnauthorized)
	equal(t, strings.HasPrefix(wrong.Header.Get("WWW-Authenticate"), "Basic "), true, "challenge for a wrong password")

	// What a key is for its token is for.
	key := c.makeKey(`{"scopes": ["secret/other"]}`, basic("all", "right"))
	lent := c.token("", basic("all", key.APIKey))
	c.get("/v2/secret/other/tags/list", lent).expect(t, http.StatusNotFound)
	c.get(secret, lent).expect(t, http.StatusForbidden)
	c.get("/zot/auth/apikey", lent).expect(t, http.StatusForbidden)
	c.get("/zot/auth/apikey", reader).expect(t, http.StatusForbidden)
	c.get("/zot/auth/token", reader).expect(t, http.StatusForbidden)
}

// Where everyone has to log in, or clients cannot be told where, there are passwords, as ever.
func TestNoOwnTokens(t *testing.T) {
	registry, _, _ := keeper(t)

	for what, forget := range map[string]func(*config.HTTP){
		"nobody may do anything": func(cfg *config.HTTP) { cfg.AccessControl = limited() },
		"no URL":                 func(cfg *config.HTTP) { cfg.ExternalURL = "" },
		"no key":                 func(cfg *config.HTTP) { cfg.Auth.SessionKeysFile = "" },
	} {
		cfg := config.HTTP{AccessControl: limited("read")}
		byOwnToken(t).configure(&cfg)
		forget(&cfg)

		c := dialWith(t, cfg, registry)

		a := c.get("/v2/")
		equal(t, strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Basic "), true, what)
		equal(t, a.StatusCode == http.StatusOK, cfg.AccessControl.Repositories["public/**"].AnonymousPolicy != nil, what)
		c.get("/v2/secret/app/tags/list", basic("read", "right")).expect(t, http.StatusOK)
	}
}
