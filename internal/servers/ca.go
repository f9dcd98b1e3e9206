package servers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// CA is an authority that makes certificates for servers under test.
type CA struct {
	Path string // its certificate, PEM

	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewCA returns an authority that nobody knows yet.
func NewCA(tb testing.TB) *CA {
	tb.Helper()

	ca := &CA{key: newKey(tb), cert: &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "tests"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}}

	der, err := x509.CreateCertificate(rand.Reader, ca.cert, ca.cert, ca.key.Public(), ca.key)
	must(tb, err)

	ca.Path = writePEM(tb, "CERTIFICATE", der)

	return ca
}

// Issue returns the paths of a certificate for 127.0.0.1 and its key.
func (ca *CA) Issue(tb testing.TB) (cert, key string) {
	tb.Helper()

	private := newKey(tb)

	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: "server"},
		NotBefore:    ca.cert.NotBefore,
		NotAfter:     ca.cert.NotAfter,
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca.cert, private.Public(), ca.key)
	must(tb, err)

	secret, err := x509.MarshalPKCS8PrivateKey(private)
	must(tb, err)

	return writePEM(tb, "CERTIFICATE", der), writePEM(tb, "PRIVATE KEY", secret)
}

// IssueClient makes a certificate that clients show. names says what is in it: its subject
// and its subject alternative names.
func (ca *CA) IssueClient(tb testing.TB, names x509.Certificate) tls.Certificate {
	tb.Helper()

	private := newKey(tb)

	names.SerialNumber = big.NewInt(time.Now().UnixNano())
	names.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}

	if names.NotAfter.IsZero() {
		names.NotBefore, names.NotAfter = ca.cert.NotBefore, ca.cert.NotAfter
	}

	der, err := x509.CreateCertificate(rand.Reader, &names, ca.cert, private.Public(), ca.key)
	must(tb, err)

	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(tb, err)

	return key
}

func writePEM(tb testing.TB, kind string, der []byte) string {
	tb.Helper()

	path := filepath.Join(tb.TempDir(), "pem")
	must(tb, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))

	return path
}
