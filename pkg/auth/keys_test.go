package auth

import (
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
)

const rsaAlgorithms = "RS256 RS384 RS512 PS256 PS384 PS512"

func TestKeys(t *testing.T) {
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	edKey = must(t, edKey, err)
	rsa1 := rsaKey(t, 2048)

	path := writeKeys(t, []byte("a text before\n"),
		certPEM(t, rsa1), publicPEM(t, ecKey(t, elliptic.P521())), []byte("one between\n"), publicPEM(t, edKey),
		pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&rsa1.PublicKey)}))

	keys, err := readKeys(path)
	equal(t, err, nil, "error")
	equal(t, len(keys), 4, "keys")

	for i, want := range []string{rsaAlgorithms, "ES512", "EdDSA", rsaAlgorithms} {
		equal(t, strings.Join(keys[i].algorithms, " "), want, "algorithms")
	}
}

// shortKey is an RSA key of 1024 bits.
const shortKey = `-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDKOjEsSLc7ET11lObOsebpA5UM
dVJadZLw5O5SOq1OegEJH8GaM0uSaSBTCw8L1/wsuTknCkyYQpGFnqUFeHNZXJFw
BmSJoVFZ38X4nZr0oMQ/SAHQ5WI79oKyjF1QFwzhRduVSDhovsKNj4w6lm6cpDpZ
NiSZtIfbS2X8kL7AbwIDAQAB
-----END PUBLIC KEY-----
`

func TestBadKeys(t *testing.T) {
	good := publicPEM(t, ecKey(t, elliptic.P256()))

	private, err := x509.MarshalPKCS8PrivateKey(ecKey(t, elliptic.P256()))
	must(t, private, err)

	for want, blocks := range map[string][][]byte{
		"no PEM block": {[]byte("secret")},
		`block 1: "PRIVATE KEY" is no public key`: {pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})},
		"block 2: ":              {good, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})},
		"1024 bits is too short": {[]byte(shortKey)},
		"signs no tokens":        {publicPEM(t, ecKey(t, elliptic.P224()))},
	} {
		_, err := readKeys(writeKeys(t, blocks...))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
