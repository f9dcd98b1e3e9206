package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"zotregistry.io/zot/pkg/api/config"
)

const apiKeys = "/zot/auth/apikey"

// keyed serves a store to ann and her API keys, and to those who have a token.
func keyed(t *testing.T) (*client, issuer, string) {
	t.Helper()

	tokens, trust := newIssuer(t)
	c := locked(t, func(cfg *config.HTTP) {
		cfg.Auth.APIKey = true
		cfg.Auth.Bearer = trust
	})

	return c, tokens, basic("ann", "se:cret")
}

// madeKey is an answer to a POST.
type madeKey struct {
	UUID, APIKey, Label string
	ExpirationDate      time.Time
	Scopes              []string
}

func (c *client) makeKey(body string, credentials ...string) madeKey {
	c.t.Helper()

	a := c.send(http.MethodPost, apiKeys, body, credentials...).expect(c.t, http.StatusCreated)
	equal(c.t, a.Header.Get("Cache-Control"), "no-store", "Cache-Control")

	var made madeKey

	c.must(json.Unmarshal([]byte(a.body), &made))

	return made
}

func TestAPIKeys(t *testing.T) {
	c, _, ann := keyed(t)
	made := c.makeKey(`{"label": "ci"}`, ann)
	equal(t, made.Label, "ci", "label")

	byKey := basic("ann", made.APIKey)
	c.get("/v2/_catalog", byKey).expect(t, 200)
	equal(t, c.line()["user"], "ann", "user in the log")
	c.do(http.MethodPost, "/v2/a/blobs/uploads/", nil, byKey).expect(t, http.StatusAccepted)

	list := c.get(apiKeys, ann).expect(t, 200)
	equal(t, strings.Contains(list.body, made.UUID), true, "the list has it")
	equal(t, strings.Contains(list.body, made.APIKey[10:]), false, "the list has the key itself")
	equal(t, c.head(apiKeys, ann).expect(t, 200).body, "", "body of a HEAD")

	c.get("/v2/", basic("bob", made.APIKey)).refused(t, 401, "UNAUTHORIZED")
	c.do(http.MethodDelete, apiKeys+"?id=none", nil, ann).refused(t, 404, "UNSUPPORTED")
	c.do(http.MethodDelete, apiKeys, nil, ann).refused(t, 404, "UNSUPPORTED")
	c.do(http.MethodDelete, apiKeys+"?id="+made.UUID, nil, ann).expect(t, 200)
	c.get("/v2/", byKey).refused(t, 401, "UNAUTHORIZED")
	equal(t, c.get(apiKeys, ann).expect(t, 200).body, `{"apiKeys":[]}`, "list")
	equal(t, strings.Contains(c.log.String(), made.APIKey[10:]), false, "the key is in the log")
}

// A key for one repository is for nothing else, and there is no better one to log in with.
func TestKeyOfRepository(t *testing.T) {
	c, _, ann := keyed(t)
	made := c.makeKey(`{"scopes": ["a"], "expirationDate": "`+time.Now().Add(time.Hour).Format(time.RFC3339)+`"}`, ann)
	byKey := basic("ann", made.APIKey)

	c.get("/v2/", byKey).expect(t, 200)
	c.do(http.MethodPost, "/v2/a/blobs/uploads/", nil, byKey).expect(t, http.StatusAccepted)
	c.do(http.MethodPost, "/v2/b/blobs/uploads/", nil, byKey).refused(t, 403, "DENIED")
	c.get("/v2/b/tags/list", byKey).refused(t, 403, "DENIED")
	c.get("/v2/_catalog", byKey).refused(t, 403, "DENIED")
}

// Who may have keys.
func TestWhoMakesKeys(t *testing.T) {
	c, tokens, ann := keyed(t)
	byKey := basic("ann", c.makeKey(`{}`, ann).APIKey)

	for _, row := range []struct {
		what, credentials string
		status            int
	}{
		{"nobody", "X: y", 401},
		{"a wrong password", basic("ann", "wrong"), 401},
		{"an API key", byKey, 403},
		{"a token", tokens.header("registry:catalog:*"), 403},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
			code := map[int]string{401: "UNAUTHORIZED", 403: "DENIED"}[row.status]
			c.send(method, apiKeys+"?id=x", "{}", row.credentials).refused(t, row.status, code)
		}
	}

	c.send(http.MethodPut, apiKeys, "{}", ann).refused(t, 405, "UNSUPPORTED")
}

func TestBadKeyRequests(t *testing.T) {
	c, _, ann := keyed(t)

	for _, body := range []string{
		"", "x", `[]`, `{"label": 5}`, `{"scopes": "a"}`, `{"scopes": [""]}`, `{"expirationDate": "tomorrow"}`,
		`{"expirationDate": "2020-01-01T00:00:00Z"}`, `{"label": "` + strings.Repeat("x", 1000) + `"}`,
		strings.Repeat(" ", maxKeyRequest) + `{}`, `{}{}`,
	} {
		c.send(http.MethodPost, apiKeys, body, ann).refused(t, 400, "UNSUPPORTED")
	}
}

// Without http.auth.apikey there are none.
func TestNoAPIKeys(t *testing.T) {
	for _, c := range []*client{locked(t, nil), dial(t)} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
			c.send(method, apiKeys, "{}", basic("ann", "se:cret")).refused(t, 404, "UNSUPPORTED")
		}
	}
}
