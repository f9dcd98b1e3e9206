package auth

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"

	"zotregistry.io/zot/internal/servers"
)

// bombSize is far more than any answer has, and than a test should take to memory.
const bombSize = 64 << 20

// nested is arrays within arrays, without an end.
type nested struct{}

func (nested) Read(p []byte) (int, error) {
	if len(p) > 0 {
		p[0] = '['
	}

	for n := 1; n < len(p); n *= 2 {
		copy(p[n:], p[:n])
	}

	return len(p), nil
}

// packedBomb is bombSize bytes in a few dozen kilobytes.
func packedBomb(t *testing.T) []byte {
	t.Helper()

	var packed bytes.Buffer

	packer := gzip.NewWriter(&packed)
	_, err := io.CopyN(packer, nested{}, bombSize)
	must(t, packed.Len(), err)
	must(t, packed.Len(), packer.Close())

	return packed.Bytes()
}

// No answer of a provider is read without a bound, packed or not: the login fails, and says why.
func TestProviderBombs(t *testing.T) {
	packed := packedBomb(t)

	for kind, bomb := range map[string]http.HandlerFunc{
		"long": func(w http.ResponseWriter, _ *http.Request) {
			if n, err := io.CopyN(w, nested{}, bombSize); err == nil {
				t.Errorf("all of %d bytes were read", n)
			}
		},
		"packed": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")

			if _, err := w.Write(packed); err != nil {
				return // who asks has hung up
			}
		},
	} {
		for path, want := range map[string]string{
			"/.well-known/openid-configuration": "more than 1048576 bytes",
			"/keys":                             "more than 1048576 bytes",
			"/userinfo":                         "more than 1048576 bytes",
			"/token":                            "", // the library has a bound of its own
		} {
			t.Run(kind+path, func(t *testing.T) {
				issuer := servers.StartIssuer(t)
				issuer.UserInfo = map[string]any{"sub": "1"}
				issuer.Instead = map[string]http.HandlerFunc{path: bomb}

				err := logInAt(t, mustOpenID(t, issuer, nil))
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want an error with %q", err, want)
				}
			})
		}
	}
}

// logInAt returns what goes wrong, at the beginning or at the end.
func logInAt(t *testing.T, o *OpenID) error {
	t.Helper()

	if _, _, err := o.Begin(t.Context(), "idp", ""); err != nil {
		return err
	}

	_, _, err := o.Finish(atProvider(t, o), "idp")

	return err
}
