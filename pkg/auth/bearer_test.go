package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"zotregistry.io/zot/pkg/api/config"
)

func must[T any](t *testing.T, value T, err error) T {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}

	return value
}

func ecKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()

	key, err := ecdsa.GenerateKey(curve, rand.Reader)

	return must(t, key, err)
}

func rsaKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()

	key, err := rsa.GenerateKey(rand.Reader, bits)

	return must(t, key, err)
}

// publicPEM is the public key as openssl writes it.
func publicPEM(t *testing.T, key crypto.Signer) []byte {
	t.Helper()

	der, err := x509.MarshalPKIXPublicKey(key.Public())

	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(t, der, err)})
}

// certPEM is a certificate of the key.
func certPEM(t *testing.T, key crypto.Signer) []byte {
	t.Helper()

	cert := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)

	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: must(t, der, err)})
}

// writeKeys writes a file of PEM blocks.
func writeKeys(t *testing.T, blocks ...[]byte) string {
	t.Helper()

	path := filepath.Join(t.TempDir(), "keys.pem")

	var all []byte
	for _, block := range blocks {
		all = append(all, block...)
	}

	if err := os.WriteFile(path, all, 0o600); err != nil {
		t.Fatal(err)
	}

	return path
}

func mustBearer(t *testing.T, blocks ...[]byte) *bearer {
	t.Helper()

	b, err := openBearer(config.Bearer{Realm: "https://auth.example/token", Service: "zot", Cert: writeKeys(t, blocks...)})

	return must(t, b, err)
}

// good are the claims of a token that is taken.
func good() jwt.MapClaims {
	return jwt.MapClaims{
		"sub": "ann", "aud": "zot", "exp": time.Now().Add(time.Hour).Unix(),
		"access": []map[string]any{{"type": "repository", "name": "a/b", "actions": []string{"pull"}}},
	}
}

// with changes a claim; nil removes it.
func with(name string, value any) jwt.MapClaims {
	all := good()
	if all[name] = value; value == nil {
		delete(all, name)
	}

	return all
}

func sign(t *testing.T, method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
	t.Helper()

	text, err := jwt.NewWithClaims(method, claims).SignedString(key)

	return must(t, text, err)
}

func (b *bearer) of(t *testing.T, authorization string) (User, error) {
	t.Helper()

	r := as(t, "", "")
	r.Header.Set("Authorization", authorization)

	return b.User(r)
}

func TestTokens(t *testing.T) {
	var (
		rsa1, ec = rsaKey(t, 2048), ecKey(t, elliptic.P256())
		ec384    = ecKey(t, elliptic.P384())
		b        = mustBearer(t, certPEM(t, rsa1), publicPEM(t, ec), publicPEM(t, ec384))
		now      = time.Now()
		ago      = func(d time.Duration) int64 { return now.Add(-d).Unix() }
	)

	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	edKey = must(t, edKey, err)
	signed := func(claims jwt.MapClaims) string { return sign(t, jwt.SigningMethodES256, ec, claims) }

	for what, token := range map[string]string{
		"RSA, of a certificate":         sign(t, jwt.SigningMethodRS256, rsa1, good()),
		"RSA with another hash":         sign(t, jwt.SigningMethodRS512, rsa1, good()),
		"RSA-PSS":                       sign(t, jwt.SigningMethodPS256, rsa1, good()),
		"P-256":                         signed(good()),
		"P-384":                         sign(t, jwt.SigningMethodES384, ec384, good()),
		"one of several audiences":      signed(with("aud", []string{"other", "zot"})),
		"valid from now on":             signed(with("nbf", now.Unix())),
		"expired within the clock skew": signed(with("exp", ago(30*time.Second))),
		"not yet valid, within it":      signed(with("nbf", ago(-30*time.Second))),
		"of an issuer":                  signed(with("iss", "x")),
	} {
		user, err := b.of(t, "Bearer "+token)
		equal(t, err, nil, what)
		equal(t, user.Name, "ann", what)
		equal(t, user.Scope.Allows(Access{"repository", "a/b", []string{"pull"}}), true, what)
	}

	header, body, _ := strings.Cut(signed(good()), ".")
	payload, signature, _ := strings.Cut(body, ".")

	for what, token := range map[string]string{
		"of another RSA key":           sign(t, jwt.SigningMethodRS256, rsaKey(t, 2048), good()),
		"of another P-256 key":         sign(t, jwt.SigningMethodES256, ecKey(t, elliptic.P256()), good()),
		"of a kind of key not there":   sign(t, jwt.SigningMethodEdDSA, edKey, good()),
		"of no key":                    sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, good()),
		"HMAC, the public key its key": sign(t, jwt.SigningMethodHS256, publicPEM(t, ec), good()),
		"HMAC, the certificate":        sign(t, jwt.SigningMethodHS256, certPEM(t, rsa1), good()),
		"expired":                      signed(with("exp", ago(2*time.Minute))),
		"never to expire":              signed(with("exp", nil)),
		"not yet valid":                signed(with("nbf", ago(-2*time.Minute))),
		"for another audience":         signed(with("aud", "other")),
		"for part of the name":         signed(with("aud", "zo")),
		"for no audience":              signed(with("aud", nil)),
		"for an empty one":             signed(with("aud", "")),
		"a date that is none":          signed(with("exp", "tomorrow")),
		"access that is none":          signed(with("access", "all")),
		"without signature":            header + "." + payload + ".",
		"without two parts":            header,
		"with a part more":             header + "." + payload + "." + signature + ".x",
		"another payload":              header + "." + strings.Replace(payload, payload[20:21], "x", 1) + "." + signature,
		"padded":                       signed(good()) + "=",
		"empty":                        "",
		"no token":                     "secret",
	} {
		_, err := b.of(t, "Bearer "+token)
		equal(t, errors.Is(err, ErrUnauthorized) && errors.Is(err, errToken), true, fmt.Sprint(what, ": ", err))

		if len(token) > 5 && strings.Contains(err.Error(), token) {
			t.Errorf("%s: the token is in the error", what)
		}
	}
}

func TestSchemes(t *testing.T) {
	key := ecKey(t, elliptic.P256())
	b := mustBearer(t, publicPEM(t, key))
	token := sign(t, jwt.SigningMethodES256, key, good())

	for header, want := range map[string]error{
		"Bearer " + token: nil, "bearer " + token: nil, "BEARER  " + token: nil,
		"Basic YTpi": errNotMine, "": errNotMine, token: errNotMine, "Bearer": errToken,
	} {
		_, err := b.of(t, header)
		equal(t, errors.Is(err, want), true, fmt.Sprintf("%.20q: %v", header, err))
	}
}

// Who has no name may do what the token says; who has no token either is anonymous.
func TestTokenWithoutName(t *testing.T) {
	key := ecKey(t, elliptic.P256())
	user, err := mustBearer(t, publicPEM(t, key)).of(t, "Bearer "+sign(t, jwt.SigningMethodES256, key, with("sub", nil)))
	equal(t, err, nil, "error")
	equal(t, user.Name, "", "name")
	equal(t, user.Anonymous(), false, "anonymous")
	equal(t, User{}.Anonymous(), true, "without a token")
}

// A token that was right is not verified again, until it expires.
func TestTokensAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := ecKey(t, elliptic.P256())
		b := mustBearer(t, publicPEM(t, key))

		short := "Bearer " + sign(t, jwt.SigningMethodES256, key, with("exp", time.Now().Add(time.Minute).Unix()))
		long := "Bearer " + sign(t, jwt.SigningMethodES256, key, with("note", strings.Repeat("x", maxKnownToken)))

		for _, token := range []string{short, long} {
			_, err := b.of(t, token)
			equal(t, err, nil, "at first")
		}

		b.keys = nil // whoever is verified fails

		user, err := b.of(t, short)
		equal(t, err, nil, "remembered")
		equal(t, user.Name, "ann", "name")
		equal(t, user.Scope.Allows(Access{"repository", "a/b", []string{"pull"}}), true, "scope")
		equal(t, user.Scope.Allows(Access{"repository", "a/b", []string{"push"}}), false, "no more than the scope")

		_, err = b.of(t, short+"x")
		equal(t, errors.Is(err, errToken), true, "another one")
		_, err = b.of(t, long)
		equal(t, errors.Is(err, errToken), true, "one that is too long to be remembered")

		<-time.After(time.Minute + clockSkew)
		_, err = b.of(t, short)
		equal(t, errors.Is(err, errToken), true, "expired")
	})
}

func TestBearerChallenge(t *testing.T) {
	b := &bearer{realm: `https://auth.example/token?a="b"`, service: "zot"}
	push := Access{"repository", "a/b", []string{"pull", "push"}}

	for want, got := range map[string]string{
		`Bearer realm="https://auth.example/token?a=\"b\"",service="zot"`: b.Challenge(ErrUnauthorized, Access{}),
		`Bearer realm="https://auth.example/token?a=\"b\"",service="zot",scope="repository:a/b:pull,push"`: b.
			Challenge(ErrUnauthorized, push),
		`Bearer realm="https://auth.example/token?a=\"b\"",service="zot",scope="repository:a/b:pull,push",error="insufficient_scope"`: b.
			Challenge(fmt.Errorf("x: %w", ErrScope), push),
		`Bearer realm="https://auth.example/token?a=\"b\"",service="zot",error="invalid_token"`: b.
			Challenge(fmt.Errorf("x: %w", errToken), Access{}),
	} {
		equal(t, got, want, "challenge")
	}
}

// The first way that takes the kind of credentials decides.
func TestWays(t *testing.T) {
	key := ecKey(t, elliptic.P256())
	ways, err := Open(config.HTTP{Auth: config.Auth{
		HTPasswd: &config.HTPasswd{Path: passwords(t, "bob:"+hash(t, "right"))},
		Bearer:   &config.Bearer{Realm: "r", Service: "zot", Cert: writeKeys(t, publicPEM(t, key))},
	}}, nil)
	must(t, ways, err)

	for _, row := range []struct {
		header, name string
		want         error
	}{
		{"Bearer " + sign(t, jwt.SigningMethodES256, key, good()), "ann", nil},
		{"Bearer x", "", ErrUnauthorized},
		{"Digest x", "", ErrUnauthorized},
		{"", "", nil},
	} {
		r := as(t, "", "")
		if row.header != "" {
			r.Header.Set("Authorization", row.header)
		}

		user, err := ways.User(r)
		equal(t, errors.Is(err, row.want), true, fmt.Sprintf("%.20q: %v", row.header, err))
		equal(t, user.Name, row.name, row.header)
	}

	user, err := ways.User(as(t, "bob", "right"))
	equal(t, user.Name, "bob", fmt.Sprint(err))

	_, err = ways.User(as(t, "bob", "wrong"))
	equal(t, errors.Is(err, ErrUnauthorized), true, fmt.Sprint(err))
	equal(t, strings.Join(ways.Challenges(err, Access{}, true), "; "),
		`Bearer realm="r",service="zot"; Basic realm="zot", charset="UTF-8"`, "challenges")
}

func FuzzToken(f *testing.F) {
	f.Add("Bearer eyJhbGciOiJub25lIn0.e30.")
	f.Add("Bearer a.b.c")

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}

	b := &bearer{
		keys:  []publicKey{{PublicKey: key.Public(), algorithms: []string{"ES256"}}},
		known: newRemembered(rememberFor),
	}

	f.Fuzz(func(t *testing.T, header string) {
		r := &http.Request{Header: http.Header{"Authorization": {header}}}
		if user, err := b.User(r); err == nil {
			t.Errorf("%q is taken for %+v", header, user)
		}
	})
}
