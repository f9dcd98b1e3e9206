package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// randomHex is 256 random bits.
func randomHex() string {
	random := make([]byte, sha256.Size)
	_, _ = rand.Read(random) // it never fails

	return hex.EncodeToString(random)
}

// hashHex is what is kept of a secret, or in a name of what may be in none: its SHA-256.
func hashHex(text string) string {
	sum := sha256.Sum256([]byte(text))

	return hex.EncodeToString(sum[:])
}

// readSecrets reads a JSON or YAML object of strings that has no other keys than those, which are
// in lower case here, and as one likes in the file. What a parser says may repeat a secret: errors
// do not have it.
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
		lower := strings.ToLower(key)
		if !slices.Contains(allowed, lower) {
			return nil, fmt.Errorf("%s: unknown key %q", path, key)
		}

		found[lower] = value
	}

	return found, nil
}
