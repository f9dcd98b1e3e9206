package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"zotregistry.io/zot/internal/servers"
)

// mustMakeFiles makes the files that the examples name: a certificate of 127.0.0.1,
// its key, which signs tokens too, an authority for client certificates and alice's, and
// the user alice with the password secret.
func mustMakeFiles(t *testing.T) {
	t.Helper()

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}

	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "localhost"},
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}

	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}

	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}

	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}

	ca := servers.NewCA(t)
	alice := ca.IssueClient(t, x509.Certificate{Subject: pkix.Name{CommonName: "alice"}})

	aliceKey, err := x509.MarshalPKCS8PrivateKey(alice.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}

	caPEM, err := os.ReadFile(ca.Path)
	if err != nil {
		t.Fatal(err)
	}

	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})

	for name, content := range map[string][]byte{
		"server.crt":        certPEM,
		"token.crt":         certPEM,
		"ca.crt":            caPEM,
		"alice.crt":         pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: alice.Certificate[0]}),
		"alice.key":         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: aliceKey}),
		"server.key":        pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
		"ldap.json":         []byte(`{"bindDN": "cn=zot,dc=example,dc=com", "bindPassword": "secret"}`),
		"openid.json":       []byte(`{"clientid": "zot", "clientsecret": "secret"}`),
		"session-keys.json": []byte(`{"hashKey": "0123456789abcdef0123456789abcdef"}`),
		"htpasswd":          append([]byte("alice:"), append(hash, '\n')...),
	} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
