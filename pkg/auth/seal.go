package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
)

// errSeal: what a client has kept is none of ours, or of another version.
var errSeal = errors.New("it was not sealed here")

// sealer encrypts what clients keep, so that they can neither read nor change it.
type sealer struct{ aead cipher.AEAD }

// minHashKey is how long a key of sessionKeysFile must be, in bytes.
const minHashKey = 32

// newSealer takes the keys of a file, for one use: what was sealed for another it does not open.
// Without a file, the key is this process's own.
func newSealer(path, use string) (sealer, error) {
	keys := map[string]string{"hashkey": rand.Text() + rand.Text()}

	if path != "" {
		var err error
		if keys, err = readSecrets(path, "hashkey", "encryptkey"); err != nil {
			return sealer{}, err
		}

		if len(keys["hashkey"]) < minHashKey {
			return sealer{}, fmt.Errorf("%s: hashKey is shorter than %d bytes", path, minHashKey)
		}
	}

	key, err := hkdf.Key(sha256.New, []byte(keys["hashkey"]), []byte(keys["encryptkey"]), "zot: "+use, sha256.Size)
	if err != nil {
		return sealer{}, fmt.Errorf("derive key: %w", err)
	}

	block, err := aes.NewCipher(key)
	if err != nil {
		return sealer{}, fmt.Errorf("derive key: %w", err)
	}

	aead, err := cipher.NewGCMWithRandomNonce(block)

	return sealer{aead: aead}, err
}

func (s sealer) seal(value any) (string, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return "", fmt.Errorf("seal: %w", err)
	}

	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(nil, nil, data, nil)), nil
}

// open decodes what was sealed into value.
//
// Errors: errSeal.
func (s sealer) open(text string, value any) error {
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return errSeal
	}

	data, err := s.aead.Open(nil, nil, sealed, nil)
	if err != nil {
		return errSeal
	}

	if err := json.Unmarshal(data, value); err != nil {
		return fmt.Errorf("%w: %w", errSeal, err)
	}

	return nil
}
