package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
)

// pending is a login that has begun. The browser keeps it, sealed.
type pending struct {
	Provider string
	State    string    // comes back from the provider: this browser has begun it
	Nonce    string    // is in the identity token: it was made for this login
	Verifier string    // proves to the provider that it was begun here (RFC 7636)
	Back     string    // where the browser goes in the end
	Expires  time.Time // it is over by then
}

// sealer encrypts what browsers keep, so that they can neither read nor change it.
type sealer struct{ aead cipher.AEAD }

// minHashKey is how long a key of sessionKeysFile must be, in bytes.
const minHashKey = 32

// newSealer takes the keys of a file. Without one, the key is this process's own.
func newSealer(path string) (sealer, error) {
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

	key, err := hkdf.Key(sha256.New, []byte(keys["hashkey"]), []byte(keys["encryptkey"]), "zot: login", sha256.Size)
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

func (s sealer) seal(p pending) (string, error) {
	data, err := json.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("seal login: %w", err)
	}

	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(nil, nil, data, nil)), nil
}

// open returns what was sealed.
//
// Errors: ErrLoginInvalid.
func (s sealer) open(text string) (pending, error) {
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return pending{}, fmt.Errorf("%w: the cookie is none of ours", ErrLoginInvalid)
	}

	data, err := s.aead.Open(nil, nil, sealed, nil)
	if err != nil {
		return pending{}, fmt.Errorf("%w: the cookie is none of ours", ErrLoginInvalid)
	}

	var p pending
	if err := json.Unmarshal(data, &p); err != nil {
		return pending{}, fmt.Errorf("%w: the cookie is of another version", ErrLoginInvalid)
	}

	return p, nil
}
