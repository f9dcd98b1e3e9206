package auth

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"zotregistry.io/zot/internal/servers"
)

// answerSize is a token that fits into an answer of a provider.
const answerSize = maxProviderAnswer - 4096

// rs256 makes a token of a head and claims that no library would write.
func rs256(t *testing.T, key *rsa.PrivateKey, head, claims string) string {
	t.Helper()

	text := base64.RawURLEncoding.EncodeToString([]byte(head)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])

	return text + "." + base64.RawURLEncoding.EncodeToString(must(t, signature, err))
}

// identityHeads are heads of tokens of a provider, and what comes of them.
var identityHeads = map[string]error{
	`{"alg":"RS256","kid":"1"}`: nil,
	`{"alg":"RS256"}`:           nil,
	`{"alg":"RS256","kid":"1","jku":"http://127.0.0.1:1/","x5u":"file:///"}`: nil,
	`{"alg":"RS256","kid":"2"}`:                                                              ErrLoginRefused,
	`{"alg":"RS384","kid":"1"}`:                                                              ErrLoginRefused,
	`{"alg":"HS256","kid":"1"}`:                                                              ErrLoginRefused,
	`{"alg":"none"}`:                                                                         ErrLoginRefused,
	`{"alg":"none","alg":"RS256"}`:                                                           ErrLoginRefused,
	`{"alg":"RS256","crit":["x"],"x":1}`:                                                     ErrLoginRefused,
	`{"alg":"RS256","b64":false,"crit":["b64"]}`:                                             ErrLoginRefused,
	`{"alg":"RS256","x":` + nestedIn(answerSize*3/8-100) + `}`:                               ErrLoginRefused,
	`{"alg":"RS256","x":[` + fill(`{"":0},`, answerSize-1000) + `0]}`:                        ErrLoginRefused,
	`{"alg":"RS256","x":` + fill("1", answerSize-1000) + `}`:                                 ErrLoginRefused,
	`{"alg":"RS256","kid":"1","x":` + nestedIn(5000) + `}`:                                   nil,
	`{"alg":"RS256","jwk":{"kty":"oct","k":"AA"}}`:                                           ErrLoginRefused,
	`{"alg":"RS256","jwk":{"kty":"RSA","n":"` + fill("A", maxTokenHead/2) + `","e":"AQAB"}}`: nil, // not looked at
	`{"alg":"` + strings.Repeat(`\u001b[2J\n`, 500) + `"}`:                                   ErrLoginRefused,
}

// identityClaims are claims besides those that are needed, and what comes of them.
var identityClaims = map[string]error{
	`,"x":` + nestedIn(9000):                                          nil,
	`,"x":` + nestedIn(answerSize*3/8-1000):                           ErrLoginRefused,
	`,"x":[` + fill(`{"":0},`, answerSize-4000) + `0]`:                nil,
	`,"x":` + fill("1", answerSize-4000):                              nil, // nobody looks at it
	`,"groups":[` + fill(`"",`, answerSize-4000) + `""]`:              ErrLoginRefused,
	`,"groups":[` + fill(`{"":0},`, answerSize-4000) + `0]`:           ErrLoginRefused,
	`,"groups":` + nestedIn(9000):                                     ErrLoginRefused,
	`,"groups":["` + strings.Repeat("x", maxGroup) + `"]`:             nil,
	`,"groups":[null]`:                                                ErrLoginRefused,
	`,"groups":null`:                                                  nil,
	`,"groups":"` + fill("x", answerSize-4000) + `"`:                  ErrLoginRefused,
	`,"_claim_names":{` + fill(`"":"a",`, answerSize-4000) + `"":""}`: ErrLoginRefused,
	`,"email_verified":[` + fill(`{"":0},`, answerSize-4000) + `0]`:   ErrLoginRefused,
	`,"email_verified":"false"`:                                       ErrLoginRefused,
	`,"email_verified":"False"`:                                       ErrLoginRefused,
	`,"email_verified":0`:                                             ErrLoginRefused,
	`,"email_verified":null`:                                          ErrLoginRefused,
	`,"email_verified":"true"`:                                        nil,
	`,"email_verified":true`:                                          nil,
	`,"sub":"2"`:                                                      ErrLoginRefused, // is there twice
	`,"email":"root"`:                                                 ErrLoginRefused,
	`,"SUB":"2"`:                                                      ErrLoginRefused,
	`,"EXP":9999999999`:                                               ErrLoginRefused,
	`,"\u017fub":"2"`:                                                 ErrLoginRefused,
	`,"EMAIL":"root"`:                                                 nil, // another one
	`,"nbf":1e300`:                                                    ErrLoginRefused,
	`,"nbf":"x"`:                                                      ErrLoginRefused,
	`,"iat":NaN`:                                                      ErrLoginRefused,
	`,"nbf":` + fill("1", answerSize-4000):                            ErrLoginRefused,
	`,"aud":[` + fill(`"",`, answerSize-4000) + `"zot"]`:              ErrLoginRefused,
}

// TestIdentityBombs: whatever a provider signs, a login ends, and takes no more memory than some times
// what is read of an answer. So it is with UserInfo that is signed.
func TestIdentityBombs(t *testing.T) {
	issuer := servers.StartIssuer(t)
	issuer.UserInfo = map[string]any{"sub": "1"}
	o := mustOpenID(t, issuer, nil)

	identity := func(head, more string) {
		issuer.Identity = func(nonce string) string {
			return rs256(t, issuer.Key, head, fmt.Sprintf(`{"iss":%q,"aud":"zot","sub":"1","email":"ann","nonce":%q,"exp":%d%s}`,
				issuer.URL, nonce, time.Now().Add(time.Hour).Unix(), more))
		}
	}

	userInfo := func(token string) {
		issuer.Instead = map[string]http.HandlerFunc{"/userinfo": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/jwt")

			if _, err := io.WriteString(w, token); err != nil {
				t.Error(err)
			}
		}}
	}

	for head, want := range identityHeads {
		issuer.Instead = nil
		identity(head, "")
		o.bomb(t, "head "+head, want)

		identity(`{"alg":"RS256","kid":"1"}`, "")
		userInfo(rs256(t, issuer.Key, head, `{"sub":"1"}`))
		o.bomb(t, "UserInfo with head "+head, want)
	}

	for more, want := range identityClaims {
		issuer.Instead = nil
		identity(`{"alg":"RS256","kid":"1"}`, more)
		o.bomb(t, "claims "+more, want)
	}

	for _, token := range []string{"", ".", "..", "...", "{}", `{"payload":"e30","protected":"e30","signature":"e30"}`, fill("A", answerSize), strings.Repeat(".", answerSize)} {
		issuer.Instead = nil
		issuer.Identity = func(string) string { return token }
		o.bomb(t, "token "+token, ErrLoginRefused)

		identity(`{"alg":"RS256","kid":"1"}`, "")
		userInfo(token)
		o.bomb(t, "UserInfo "+token, ErrLoginRefused)
	}
}

// bomb logs in, and looks at what that takes. The issuer takes some of it.
func (o *OpenID) bomb(t *testing.T, what string, want error) {
	t.Helper()

	back := atProvider(t, o)

	var before, after runtime.MemStats

	runtime.ReadMemStats(&before)

	login, _, err := o.Finish(back, "idp")

	runtime.ReadMemStats(&after)

	equal(t, kindOf(err), want, fmt.Sprintf("%.200q: %s", what, shortened(err)))
	equal(t, login.User.Name == "ann", want == nil, fmt.Sprintf("%.200q: user %q", what, login.User.Name))

	const atMost = 48 << 20
	if bytes := after.TotalAlloc - before.TotalAlloc; bytes > atMost || after.StackSys > before.StackSys+atMost {
		t.Errorf("%.200q takes %d bytes, and stacks %d after %d", what, bytes, after.StackSys, before.StackSys)
	}
}

// TestProviderFaults: an answer of the provider that cannot be had, or read, is not the user's fault.
func TestProviderFaults(t *testing.T) {
	faults := map[string]http.HandlerFunc{
		"too long": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.CopyN(w, nested{}, 2*maxProviderAnswer) }, // who asks hangs up
		"no JSON":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) },
		"too deep": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.CopyN(w, nested{}, 20_000) },
		"an error": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"refused":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"cut": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(http.StatusOK)
		},
		"gone": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	}

	for path := range map[string]bool{"/.well-known/openid-configuration": true, "/token": true, "/keys": true, "/userinfo": true} {
		for what, fault := range faults {
			t.Run(what+path, func(t *testing.T) {
				issuer := servers.StartIssuer(t)
				issuer.UserInfo = map[string]any{"sub": "1", "email": "ann"}
				issuer.Instead = map[string]http.HandlerFunc{path: fault}

				equal(t, kindOf(logInAt(t, mustOpenID(t, issuer, nil))), ErrUnavailable, "error")
			})
		}
	}

	t.Run("keys for a signed UserInfo", func(t *testing.T) {
		issuer := servers.StartIssuer(t)
		issuer.UserInfo = map[string]any{}

		asked := 0
		issuer.Instead = map[string]http.HandlerFunc{"/userinfo": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/jwt")

			if _, err := io.WriteString(w, rs256(t, issuer.Key, `{"alg":"RS256","kid":"2"}`, `{"sub":"1"}`)); err != nil {
				t.Error(err)
			}

			issuer.Instead["/keys"] = func(w http.ResponseWriter, _ *http.Request) {
				asked++
				w.WriteHeader(http.StatusBadGateway)
			}
		}}

		equal(t, kindOf(logInAt(t, mustOpenID(t, issuer, nil))), ErrUnavailable, "error")
		equal(t, asked, 1, "times that keys were asked for")
	})
}
