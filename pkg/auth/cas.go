package auth

import (
	"crypto/x509"
	"fmt"
	"os"
)

// LoadCAs reads a PEM file of certificates of those who may sign others.
func LoadCAs(path string) (*x509.CertPool, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}

	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}

	return pool, nil
}

// VerifyClient says whether authorities vouch now for the certificates that a client has shown,
// its own first. crypto/tls asks that once for each connection, and these get old.
func VerifyClient(shown []*x509.Certificate, authorities *x509.CertPool) error {
	between := x509.NewCertPool()
	for _, cert := range shown[1:] {
		between.AddCert(cert)
	}

	_, err := shown[0].Verify(x509.VerifyOptions{
		Roots: authorities, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCertificate, err)
	}

	return nil
}
