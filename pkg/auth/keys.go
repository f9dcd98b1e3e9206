package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
)

// minRSA is how long an RSA key must be, in bits: NIST SP 800-131A.
const minRSA = 2048

// publicKey verifies what was signed by an algorithm of its own kind, and by no other: what
// the head of a token says chooses among these only (RFC 8725, 3.1).
type publicKey struct {
	crypto.PublicKey

	algorithms []string // RFC 7518, 3.1
}

// readKeys reads a PEM file of public keys and certificates. A token is good if any of them
// has signed it.
func readKeys(path string) ([]publicKey, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}

	var keys []publicKey

	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}

		key, err := parseKey(block)
		if err != nil {
			return nil, fmt.Errorf("%s: PEM block %d: %w", path, len(keys)+1, err)
		}

		keys = append(keys, key)
	}

	if len(keys) == 0 {
		return nil, fmt.Errorf("%s: no PEM block of a public key or certificate", path)
	}

	return keys, nil
}

func parseKey(block *pem.Block) (publicKey, error) {
	var (
		key any
		err error
	)

	switch block.Type {
	case "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = cert.PublicKey
		}
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		err = fmt.Errorf("%q is no public key or certificate", block.Type)
	}

	if err != nil {
		return publicKey{}, err
	}

	algorithms, err := algorithmsOf(key)

	return publicKey{PublicKey: key, algorithms: algorithms}, err
}

func algorithmsOf(key any) ([]string, error) {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() < minRSA {
			return nil, fmt.Errorf("an RSA key of %d bits is too short: %d are needed", key.N.BitLen(), minRSA)
		}

		return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}, nil
	case *ecdsa.PublicKey:
		if name, ok := map[string]string{"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}[key.Params().Name]; ok {
			return []string{name}, nil
		}
	case ed25519.PublicKey:
		return []string{"EdDSA"}, nil
	}

	return nil, errors.New("a key of a kind that signs no tokens")
}
