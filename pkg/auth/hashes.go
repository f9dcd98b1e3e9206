package auth

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-crypt/crypt/algorithm/shacrypt"
	"golang.org/x/crypto/bcrypt"
)

// maxPassword is how long a password may be, in bytes: as in crypt(5). Without a bound
// sha-crypt, whose time grows with the square of it, would be a way to keep zot busy.
const maxPassword = 512

// passwordHash says whether a password is the one that it was made of. It takes
// milliseconds by design.
type passwordHash func(password string) bool

// parseHash reads a hash as htpasswd -B, -2 and -5, or crypt(5), write it. The error does
// not repeat it: it is secret.
func parseHash(text string) (passwordHash, error) {
	switch {
	case strings.HasPrefix(text, "$2"):
		return parseBcrypt(text)
	case strings.HasPrefix(text, "$5$"):
		return parseSHACrypt(text, keyLengthSHA256)
	case strings.HasPrefix(text, "$6$"):
		return parseSHACrypt(text, keyLengthSHA512)
	}

	return nil, errors.New("not of a kind that zot takes: bcrypt, sha256-crypt, sha512-crypt")
}

func parseBcrypt(text string) (passwordHash, error) {
	hash := []byte(text)
	if _, err := bcrypt.Cost(hash); err != nil {
		return nil, errors.New("no whole bcrypt hash")
	}

	return func(password string) bool {
		return bcrypt.CompareHashAndPassword(hash, []byte(password)) == nil
	}, nil
}

// What is behind the last $ of a sha-crypt, in characters: crypt(5).
const (
	keyLengthSHA256 = 43
	keyLengthSHA512 = 86
)

func parseSHACrypt(text string, keyLength int) (passwordHash, error) {
	digest, err := shacrypt.Decode(text)
	if err != nil {
		return nil, errors.New("no whole sha-crypt hash")
	}

	decoded, ok := digest.(*shacrypt.Digest)
	if !ok {
		return nil, fmt.Errorf("a sha-crypt hash of another kind, %T", digest)
	}

	if len(decoded.Key()) != keyLength || len(decoded.Salt()) > shacrypt.SaltLengthMax {
		return nil, errors.New("no whole sha-crypt hash")
	}

	return decoded.Match, nil
}
