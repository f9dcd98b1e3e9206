package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// requestHead is how much of tokens fits into a request: pkg/api bounds headers.
const requestHead = 60 << 10

// fill repeats text so that it is about as many bytes in base64.
func fill(text string, size int) string { return strings.Repeat(text, size/4*3/len(text)) }

// nestedIn is arrays within arrays.
func nestedIn(depth int) string {
	return strings.Repeat("[", depth) + strings.Repeat("]", depth)
}

// signedBy makes a token of a head and claims that no library would write.
func signedBy(t *testing.T, key *ecdsa.PrivateKey, head, claims string) string {
	t.Helper()

	text := base64.RawURLEncoding.EncodeToString([]byte(head)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	signature, err := jwt.SigningMethodES256.Sign(text, key)

	return text + "." + base64.RawURLEncoding.EncodeToString(must(t, signature, err))
}

const goodHead = `{"alg":"ES256"}`

// goodClaims are the claims of a token that is taken, and more of them.
func goodClaims(more string) string {
	return fmt.Sprintf(`{"sub":"ann","aud":"zot","exp":%d%s}`, time.Now().Add(time.Hour).Unix(), more)
}

// headBombs are heads, and whether tokens that have them are taken if the right key has signed them.
var headBombs = map[string]bool{
	`{"alg":"ES256","x":` + nestedIn(5000) + `}`:                       true,
	`{"alg":"ES256","x":[` + fill(`{"":0},`, maxTokenHead-100) + `0]}`: true,
	`{"alg":"ES256","x":"` + fill("x", maxTokenHead-100) + `"}`:        true,
	`{"alg":"ES256","x":` + fill("1", maxTokenHead-100) + `}`:          true,
	`{"alg":"ES256","x":"` + fill("x", maxTokenHead+100) + `"}`:        false,
	`{"alg":"ES256","x":` + nestedIn(20_000) + `}`:                     false,
	`{"alg":"ES256","x":[` + fill(`{"":0},`, 50<<10) + `0]}`:           false,
	`{"alg":"ES256","zip":"DEF","b64":false,"cty":"JWT","typ":"x"}`:    true, // means nothing in a JWS, or nothing to zot
	`{"alg":"ES256","jku":"http://127.0.0.1:1/","x5u":"file:///"}`:     true, // not looked at
	`{"alg":"ES256","crit":["x"],"x":1}`:                               false,
	`{"alg":"ES256","crit":["b64"],"b64":false}`:                       false,
	`{"alg":"ES256","crit":[]}`:                                        false,
	`{"alg":"ES256","crit":null}`:                                      false,
	`{"alg":"ES256","alg":"none"}`:                                     false,
	`{"alg":"none","alg":"ES256"}`:                                     false,
	`{"alg":"none","ALG":"ES256"}`:                                     false,
	`{"ALG":"ES256"}`:                                                  false,
	`{"alg":"es256"}`:                                                  false,
	`{"alg":"ES384"}`:                                                  false, // another curve
	`{"alg":"ES256K"}`:                                                 false,
	`{"alg":"RS256"}`:                                                  false,
	`{"alg":"HS256"}`:                                                  false,
	`{"alg":"none"}`:                                                   false,
	`{"alg":"nOnE"}`:                                                   false,
	`{"alg":""}`:                                                       false,
	`{"alg":null}`:                                                     false,
	`{"alg":["ES256"]}`:                                                false,
	`{"alg":1e999}`:                                                    false,
	`{}`:                                                               false,
	`[]`:                                                               false,
	`null`:                                                             false,
	``:                                                                 false,
	`{"alg":"ES256"}{}`:                                                false,
	`{"alg":"ES256"},`:                                                 false,
	`{"alg":"ES256",}`:                                                 false,
	`{"alg":"ES256"`:                                                   false,
	"\xef\xbb\xbf" + goodHead:                                          false,
	`{"\ud83d\ude00` + strings.Repeat(`\u001b[2J\n`, 500) + `":1,"x":`:      false,
	`{"alg":"` + strings.Repeat(`\n{\"level\":\"info\"}\u001b[2J`, 100):     false,
	`{"alg":"` + strings.Repeat(`\n{\"level\":\"info\"}\u001b`, 100) + `"}`: false,
}

// claimBombs are claims besides those that are needed, and whether the token is taken if the right
// key has signed it.
var claimBombs = map[string]bool{
	`,"x":` + nestedIn(9000):                                  true,
	`,"x":` + nestedIn(20_000):                                false,
	`,"access":` + nestedIn(20_000):                           false,
	`,"x":[` + fill(`{"":0},`, 50<<10) + `0]`:                 true,
	`,"access":[` + fill(`{},`, 50<<10) + `{}]`:               true,
	`,"access":[{"actions":[` + fill(`"",`, 50<<10) + `""]}]`: true,
	`,"access":[` + fill(`{"actions":[""]},`, 50<<10) + `{}]`: true,
	`,"access":[` + fill(`0,`, 50<<10) + `{}]`:                false,
	`,"access":{}`:                     false,
	`,"access":[{"type":1}]`:           false,
	`,"access":[{"actions":"pull"}]`:   false,
	`,"access":null`:                   true,
	`,"x":"` + fill("x", 50<<10) + `"`: true,
	`,"x":` + fill("1", 50<<10):        true, // nobody looks at it
	`,"nbf":` + fill("1", 50<<10):      false,
	`,"nbf":0.` + fill("1", 50<<10):    true,
	`,"access":` + fill("1", 50<<10):   false,
	`,"iat":1e999,"jti":[{}],"iss":0`:  true, // nor at these
	`,"nbf":1e300`:                     false,
	`,"nbf":1e19`:                      false,
	`,"nbf":253402300800`:              false,
	`,"nbf":1e999`:                     false,
	`,"nbf":-1e300`:                    false,
	`,"nbf":NaN`:                       false,
	`,"nbf":Infinity`:                  false,
	`,"nbf":"0"`:                       false,
	`,"nbf":{}`:                        false,
	`,"nbf":true`:                      false,
	`,"nbf":-0.0`:                      true,
	`,"nbf":1e-999`:                    true,
	`,"nbf":null`:                      true,
	`,"sub":"root"`:                    false, // is there twice
	`,"aud":"zot"`:                     false,
	`,"exp":1e10`:                      false,
	`,"\u0073ub":"root"`:               false,
	`,"SUB":"root","Sub":"root","\u017fub":"root","AUD":0,"EXP":0`: true, // others, which nobody looks at
	`,"x":0}{"x":0`:    false,
	`,"x":0},{"x":0`:   false,
	`,"x":0} x {"y":0`: false,
	`,`:                false,
	`,"x"`:             false,
	`,x:0`:             false,
	`,"` + strings.Repeat(`\u001b[2J\n`, 500) + `":`: false,
}

// wholeClaims are all that a token says, none of which is enough.
var wholeClaims = []string{
	"", "null", "[]", "0", `"x"`, "{}", "{", "[" + "{}]", nestedIn(20_000), nestedIn(9000), fill("1", 50<<10), `{"aud":"zot","sub":"ann"}`,
	`{"aud":"zot","EXP":9999999999}`, `{"AUD":"zot","exp":9999999999}`, `{"aud":"zot","exp":"9999999999"}`, `{"aud":"zot","exp":1e300}`,
	`{"aud":"zot","exp":-1e300}`, `{"aud":"zot","exp":1e999}`, `{"aud":"zot","exp":NaN}`, `{"aud":"zot","exp":0}`, `{"aud":"zot","exp":null}`,
	`{"aud":"zot","exp":[]}`, `{"aud":"zot","exp":` + fill("9", 50<<10) + `}`, `{"aud":null,"exp":9999999999}`, `{"aud":[],"exp":9999999999}`,
	`{"aud":{"zot":0},"exp":9999999999}`, `{"aud":["zot",null],"exp":9999999999}`, `{"aud":[["zot"]],"exp":9999999999}`,
	`{"aud":[` + fill(`"",`, 50<<10) + `""],"exp":9999999999}`, `{"aud":"zot","exp":9999999999,"sub":0}`,
	`{"aud":"zot","exp":9999999999,"sub":"` + strings.Repeat("x", maxName+1) + `"}`,
}

// TestTokenBombs: whatever is in a token, the answer is at most that it is not taken, and the work and
// the memory are bounded. One that nobody has signed takes less than one that the right key has.
func TestTokenBombs(t *testing.T) {
	key, other := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())
	b := mustBearer(t, publicPEM(t, key), publicPEM(t, ecKey(t, elliptic.P384())))

	all := map[[2]string]bool{}
	for head, taken := range headBombs {
		all[[2]string{head, goodClaims("")}] = taken
	}

	for more, taken := range claimBombs {
		all[[2]string{goodHead, goodClaims(more)}] = taken
	}

	for _, claims := range wholeClaims {
		all[[2]string{goodHead, claims}] = false
	}

	all[[2]string{`{"alg":"ES256","cty":"JWT"}`, sign(t, jwt.SigningMethodES256, key, good())}] = false // one in another

	for token, taken := range all {
		b.bomb(t, signedBy(t, key, token[0], token[1]), taken, 8<<20)
		b.bomb(t, signedBy(t, other, token[0], token[1]), false, 1<<20)
	}
}

// bomb sends a token, and looks at what that takes.
func (b *bearer) bomb(t *testing.T, token string, taken bool, atMost uint64) {
	t.Helper()

	what := fmt.Sprintf("%.200q of %d bytes", token, len(token))
	if len(token) > requestHead {
		t.Fatalf("%s is no request", what)
	}

	var before, after runtime.MemStats

	runtime.ReadMemStats(&before)

	start := time.Now()
	user, err := b.of(t, "Bearer "+token)
	took := time.Since(start)

	runtime.ReadMemStats(&after)

	equal(t, err == nil, taken, fmt.Sprint(what, ": ", shortened(err)))
	equal(t, err == nil || errors.Is(err, errToken), true, what)
	equal(t, user.Name == "ann", taken, what+": user "+user.Name)

	if bytes := after.TotalAlloc - before.TotalAlloc; bytes > atMost || took > 5*time.Second {
		t.Errorf("%s takes %d bytes and %s", what, bytes, took)
	}
}

func shortened(err error) string { return fmt.Sprintf("%.200v", err) }

// TestTokenSignatures: neither a key that a token brings along nor another way to write a signature is
// taken, nor the same bytes written in another way.
func TestTokenSignatures(t *testing.T) {
	key, evil := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())
	b := mustBearer(t, publicPEM(t, key))

	point, err := evil.PublicKey.Bytes()
	must(t, point, err)

	encode := base64.RawURLEncoding.EncodeToString
	own := fmt.Sprintf(`{"alg":"ES256","jwk":{"kty":"EC","crv":"P-256","x":%q,"y":%q}}`, encode(point[1:33]), encode(point[33:]))
	b.bomb(t, signedBy(t, evil, own, goodClaims("")), false, 1<<20)

	token := signedBy(t, key, goodHead, goodClaims(`,"x":"?>~"`))
	b.bomb(t, token, true, 1<<20)

	at := strings.LastIndex(token, ".") + 1
	signature, err := base64.RawURLEncoding.DecodeString(token[at:])
	must(t, signature, err)

	der, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])})
	must(t, der, err)

	for _, wrong := range [][]byte{
		nil, make([]byte, 64), make([]byte, 63), make([]byte, 65), append([]byte{0}, signature...), append(signature[:64:64], 0), der,
		append(elliptic.P256().Params().N.Bytes(), elliptic.P256().Params().N.Bytes()...), make([]byte, 30<<10),
	} {
		b.bomb(t, token[:at]+encode(wrong), false, 1<<20)
	}

	// 64 bytes leave four bits of the last letter.
	letters := "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(letters, token[len(token)-1])
	first := strings.IndexByte(token, '.')

	for _, wrong := range []string{
		token[:len(token)-1] + letters[last+1:last+2], token + "=", token + "==", token + "A", token + ".", "." + token, token + "." + token,
		token[:first] + "=" + token[first:], token[:at-1] + "=" + token[at-1:], strings.ReplaceAll(token, ".", ".."),
		token[:5] + " " + token[5:], token[:5] + "\x00" + token[5:], token[:5] + "\u00e9" + token[5:], token[:first], token[:at], token[at:],
		"{" + token, `{"payload":"e30","protected":"e30","signature":"e30"}`, strings.Repeat(".", requestHead), fill("A", requestHead), "..", ".", "",
		token[:first] + fill("A", requestHead-100), strings.Repeat("A.", 100), "e30.e30.e30",
	} {
		b.bomb(t, wrong, false, 1<<20)
	}
}
