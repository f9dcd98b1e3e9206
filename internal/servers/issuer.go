package servers

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// What an Issuer knows its client by.
const (
	IssuerClient = "zot"
	IssuerSecret = "s:e+cret" // is escaped on its way (RFC 6749, 2.3.1)
)

// Issuer is an OpenID provider in this process. It asks nobody for a password, and may lie:
// what is set may be changed between requests.
type Issuer struct {
	URL string

	Claims   map[string]any              // of who logs in next
	UserInfo map[string]any              // nil = there is no such endpoint
	Forge    func(claims jwt.MapClaims)  // changes identity tokens; nil = they are right
	Identity func(nonce string) string   // makes identity tokens in place of all that; nil = Claims do
	Lapse    bool                        // codes expire at once
	Key      *rsa.PrivateKey             // signs
	Down     bool                        // all is answered with 500
	Instead  map[string]http.HandlerFunc // answers what is asked at a path
	tb       testing.TB
	mu       sync.Mutex // guards codes
	codes    map[string]url.Values
	keys     *rsa.PrivateKey // what the provider says its key is
}

// StartIssuer starts one, until the test ends.
func StartIssuer(tb testing.TB) *Issuer {
	tb.Helper()

	key := NewIssuerKey(tb)
	i := &Issuer{tb: tb, codes: map[string]url.Values{}, Key: key, keys: key, Claims: map[string]any{}}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", i.discovery)
	mux.HandleFunc("GET /auth", i.authorize)
	mux.HandleFunc("POST /token", i.token)
	mux.HandleFunc("GET /keys", i.jwks)
	mux.HandleFunc("GET /userinfo", func(w http.ResponseWriter, _ *http.Request) { i.answer(w, http.StatusOK, i.UserInfo) })

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if i.Down {
			w.WriteHeader(http.StatusInternalServerError)

			return
		}

		if instead := i.Instead[r.URL.Path]; instead != nil {
			instead(w, r)

			return
		}

		mux.ServeHTTP(w, r)
	}))
	tb.Cleanup(server.Close)

	i.URL = server.URL

	return i
}

// NewIssuerKey makes a key to sign with.
func NewIssuerKey(tb testing.TB) *rsa.PrivateKey {
	tb.Helper()

	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(tb, err)

	return key
}

func (i *Issuer) answer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)

	if err := json.NewEncoder(w).Encode(value); err != nil {
		i.tb.Errorf("issuer: %v", err)
	}
}

func (i *Issuer) discovery(w http.ResponseWriter, _ *http.Request) {
	says := map[string]any{
		"issuer": i.URL, "authorization_endpoint": i.URL + "/auth", "token_endpoint": i.URL + "/token",
		"jwks_uri": i.URL + "/keys", "id_token_signing_alg_values_supported": []string{"RS256"},
	}

	if i.UserInfo != nil {
		says["userinfo_endpoint"] = i.URL + "/userinfo"
	}

	i.answer(w, http.StatusOK, says)
}

// authorize gives a code at once.
func (i *Issuer) authorize(w http.ResponseWriter, r *http.Request) {
	asked := r.URL.Query()
	code := rand.Text()

	i.mu.Lock()
	i.codes[code] = asked
	i.mu.Unlock()

	back := asked.Get("redirect_uri") + "?" + url.Values{"code": {code}, "state": {asked.Get("state")}, "iss": {i.URL}}.Encode()
	http.Redirect(w, r, back, http.StatusFound)
}

// token takes a code once, from its client, who has to have begun the login.
func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	id, secret, _ := r.BasicAuth()
	if secret, err := url.QueryUnescape(secret); err != nil || id != IssuerClient || secret != IssuerSecret {
		i.answer(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client"})

		return
	}

	code := r.FormValue("code")

	i.mu.Lock()
	asked, ok := i.codes[code]
	delete(i.codes, code)
	i.mu.Unlock()

	challenge := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	if !ok || i.Lapse || asked.Get("code_challenge_method") != "S256" || asked.Get("redirect_uri") != r.FormValue("redirect_uri") ||
		asked.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(challenge[:]) {
		i.answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant"})

		return
	}

	i.answer(w, http.StatusOK, map[string]any{
		"access_token": "access", "token_type": "Bearer", "id_token": i.identity(asked.Get("nonce")),
	})
}

func (i *Issuer) identity(nonce string) string {
	if i.Identity != nil {
		return i.Identity(nonce)
	}

	now := time.Now()
	claims := jwt.MapClaims{
		"iss": i.URL, "aud": IssuerClient, "sub": "1", "nonce": nonce, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	}

	for name, value := range i.Claims {
		claims[name] = value
	}

	if i.Forge != nil {
		i.Forge(claims)
	}

	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	token.Header["kid"] = "1"

	text, err := token.SignedString(i.Key)
	if err != nil {
		i.tb.Errorf("issuer: %v", err)
	}

	return text
}

func (i *Issuer) jwks(w http.ResponseWriter, _ *http.Request) {
	encode := base64.RawURLEncoding.EncodeToString
	i.answer(w, http.StatusOK, map[string]any{"keys": []any{map[string]string{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "1",
		"n": encode(i.keys.N.Bytes()), "e": encode(big.NewInt(int64(i.keys.E)).Bytes()),
	}}})
}
