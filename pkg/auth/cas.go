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
