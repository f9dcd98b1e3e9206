package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/api/config"
)

// issuer signs tokens for the registry "zot".
type issuer struct {
	t   *testing.T
	key *ecdsa.PrivateKey
}

// newIssuer returns an issuer, and what trusts it.
func newIssuer(t *testing.T) (issuer, *config.Bearer) {
	t.Helper()

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}

	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}

	path := filepath.Join(t.TempDir(), "public.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}

	return issuer{t: t, key: key}, &config.Bearer{Realm: "https://auth.example/token", Service: "zot", Cert: path}
}

// guarded serves a store to those who have a token of the issuer, or ann's password.
func guarded(t *testing.T) (*client, issuer) {
	t.Helper()

	tokens, trust := newIssuer(t)

	return locked(t, func(cfg *config.HTTP) { cfg.Auth.Bearer = trust }), tokens
}

// header is an Authorization of ann's that allows what is in scopes, "repository:a:pull".
func (i issuer) header(scopes ...string) string {
	i.t.Helper()

	return i.headerOf("ann", scopes...)
}

func (i issuer) headerOf(user string, scopes ...string) string {
	i.t.Helper()

	var access []map[string]any

	for _, scope := range scopes {
		parts := strings.Split(scope, ":")
		access = append(access, map[string]any{
			"type": parts[0], "name": parts[1], "actions": strings.Split(parts[2], ","),
		})
	}

	return i.sign(jwt.MapClaims{"sub": user, "aud": "zot", "exp": time.Now().Add(time.Hour).Unix(), "access": access})
}

func (i issuer) sign(claims jwt.MapClaims) string {
	i.t.Helper()

	text, err := jwt.NewWithClaims(jwt.SigningMethodES256, claims).SignedString(i.key)
	if err != nil {
		i.t.Fatal(err)
	}

	return "Authorization: Bearer " + text
}

// What each endpoint asks for, and that nothing less will do.
func TestTokenOfEachEndpoint(t *testing.T) {
	c, tokens := guarded(t)
	dgst := someDigest.String()

	scopes := []string{
		"", "repository:a/b:pull", "repository:a/b:push", "repository:a/b:pull,push", "repository:a/b:delete",
		"registry:catalog:*",
	}

	for _, row := range []struct{ methods, path, needs string }{
		{"GET HEAD", "/v2/", ""},
		{"GET HEAD", "/v2/_oci/ext/discover", ""},
		{"GET HEAD", "/v2/_catalog", "registry:catalog:*"},
		{"GET HEAD", "/v2/a/b/tags/list", "repository:a/b:pull"},
		{"GET HEAD", "/v2/a/b/manifests/x", "repository:a/b:pull"},
		{"GET HEAD", "/v2/a/b/manifests/x@y", "repository:a/b:pull"},
		{"GET HEAD", "/v2/a/b/blobs/" + dgst, "repository:a/b:pull"},
		{"GET HEAD", "/v2/a/b/blobs/x", "repository:a/b:pull"},
		{"GET HEAD", "/v2/a/b/referrers/" + dgst, "repository:a/b:pull"},
		{"GET HEAD", "/v2/a/b/_oci/tag-history/x", "repository:a/b:pull"},
		{"PUT", "/v2/a/b/manifests/x", "repository:a/b:pull,push"},
		{"POST", "/v2/a/b/blobs/uploads/", "repository:a/b:pull,push"},
		{"GET HEAD PATCH PUT DELETE", "/v2/a/b/blobs/uploads/x", "repository:a/b:pull,push"},
		{"DELETE", "/v2/a/b/manifests/x", "repository:a/b:delete"},
		{"DELETE", "/v2/a/b/blobs/" + dgst, "repository:a/b:delete"},
		{"DELETE", "/v2/a/b/_oci/repository", "repository:a/b:delete"},
		{"PATCH", "/v2/a/b/manifests/x", "repository:a/b:pull,push"}, // not a method: no less is needed to learn that
	} {
		for method := range strings.FieldsSeq(row.methods) {
			challenge := `Bearer realm="https://auth.example/token",service="zot"`
			if row.needs != "" {
				challenge += `,scope="` + row.needs + `"`
			}

			a := c.do(method, row.path, nil).expect(t, http.StatusUnauthorized)
			equal(t, a.Header.Get("WWW-Authenticate"), challenge, method+" "+row.path)
			equal(t, len(a.Header.Values("WWW-Authenticate")), 2, "challenges")

			for _, scope := range scopes {
				var allows []string
				if scope != "" {
					allows = append(allows, scope)
				}

				a := c.do(method, row.path, nil, tokens.header(allows...))
				if want := strings.HasPrefix(scope, row.needs); (a.StatusCode != http.StatusUnauthorized) != want {
					t.Errorf("%s %s with %q: status %d", method, row.path, scope, a.StatusCode)
				}

				if a.StatusCode == http.StatusUnauthorized {
					equal(t, a.Header.Get("WWW-Authenticate"), challenge+`,error="insufficient_scope"`, method+" "+row.path)
				}
			}
		}
	}
}

// Tokens and passwords through the server: what is answered to each.
func TestCredentials(t *testing.T) {
	c, tokens := guarded(t)
	c.as("ann", "se:cret").expect(t, 200)

	other := issuer{t: t}

	var err error
	other.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	c.must(err)

	claims := func(change func(jwt.MapClaims)) jwt.MapClaims {
		all := jwt.MapClaims{
			"sub": "eve", "aud": "zot", "exp": time.Now().Add(time.Hour).Unix(),
			"access": []map[string]any{{"type": "registry", "name": "catalog", "actions": []string{"*"}}},
		}
		change(all)

		return all
	}

	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, claims(func(jwt.MapClaims) {})).
		SignedString(jwt.UnsafeAllowNoneSignatureType)
	c.must(err)

	for _, row := range []struct {
		what, header string
		status       int
		user, err    string
	}{
		{"a token", tokens.sign(claims(func(jwt.MapClaims) {})), 200, "eve", ""},
		{"without a name", tokens.sign(claims(func(c jwt.MapClaims) { delete(c, "sub") })), 200, "", ""},
		{"expired", tokens.sign(claims(func(c jwt.MapClaims) { c["exp"] = time.Now().Add(-time.Hour).Unix() })), 401, "", "invalid_token"},
		{"not yet valid", tokens.sign(claims(func(c jwt.MapClaims) { c["nbf"] = time.Now().Add(time.Hour).Unix() })), 401, "", "invalid_token"},
		{"wrong audience", tokens.sign(claims(func(c jwt.MapClaims) { c["aud"] = "other" })), 401, "", "invalid_token"},
		{"wrong key", other.sign(claims(func(jwt.MapClaims) {})), 401, "", "invalid_token"},
		{"no key", "Authorization: Bearer " + none, 401, "", "invalid_token"},
		{"no access", tokens.sign(claims(func(c jwt.MapClaims) { delete(c, "access") })), 401, "", "insufficient_scope"},
		{"nothing", "X: y", 401, "", ""},
		{"another scheme", "Authorization: Negotiate x", 401, "", ""},
	} {
		c.log.Reset()

		a := c.get("/v2/_catalog", row.header).expect(t, row.status)
		equal(t, c.line()["user"], row.user, row.what+": user in the log")
		equal(t, strings.Contains(a.Header.Get("WWW-Authenticate"), `error="`+row.err+`"`), row.err != "", row.what)

		if _, token, ok := strings.Cut(row.header, "Bearer "); ok {
			equal(t, strings.Contains(c.log.String(), token[len(token)-20:]), false, row.what+": the token is in the log")
		}

		if row.status != 200 {
			a.refused(t, row.status, "UNAUTHORIZED")
		}
	}
}

// A token for one repository opens no other one by mounting from it.
func TestMountWithToken(t *testing.T) {
	c, tokens := guarded(t)
	all := tokens.header("repository:secret:pull,push")
	dgst := pushAs(c, "secret", "content", all)
	mount := "/v2/mine/blobs/uploads/?mount=" + dgst

	for _, path := range []string{mount + "&from=secret", mount} {
		c.do(http.MethodPost, path, nil, tokens.header("repository:mine:pull,push")).expect(t, http.StatusAccepted)
	}

	c.do(http.MethodPost, mount+"&from=secret", nil,
		tokens.header("repository:mine:pull,push", "repository:secret:pull")).expect(t, http.StatusCreated)
}

// pushAs pushes a blob with a header.
func pushAs(c *client, repo, content, header string) string {
	c.t.Helper()

	dgst := digest.FromString(content).String()
	c.send(http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+dgst, content, header).expect(c.t, http.StatusCreated)

	return dgst
}
