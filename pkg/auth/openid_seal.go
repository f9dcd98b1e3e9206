package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
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
		if keys, err = readSecrets(path, "hashKey", "encryptKey"); err != nil {
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

// randomHex is 256 random bits.
func randomHex() string {
	random := make([]byte, sha256.Size)
	_, _ = rand.Read(random) // it never fails

	return hex.EncodeToString(random)
}

// readSecrets reads a JSON or YAML object of strings that has no other keys than those; it
// returns them in lower case. What a parser says may repeat a secret: errors do not have it.
func readSecrets(path string, allowed ...string) (map[string]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}

	var values map[string]string
	if err := yaml.Unmarshal(data, &values); err != nil {
		return nil, fmt.Errorf("%s is no JSON or YAML object of strings", path)
	}

	found := map[string]string{}

	for key, value := range values {
		key = strings.ToLower(key)
		if !strings.Contains(","+strings.ToLower(strings.Join(allowed, ","))+",", ","+key+",") {
			return nil, fmt.Errorf("%s: unknown key %q", path, key)
		}

		found[key] = value
	}

	return found, nil
}
