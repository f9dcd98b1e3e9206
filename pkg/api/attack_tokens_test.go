package api

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"zotregistry.io/zot/pkg/api/config"
)

// TestHostileTokensInLogs: what is in a token that is not taken makes one line in the log, which is short,
// and a short answer.
func TestHostileTokensInLogs(t *testing.T) {
	tokens, trust := newIssuer(t)
	c := dialAudited(t, config.HTTP{Auth: config.Auth{Bearer: trust}}, openRegistry(t))
	encode := base64.RawURLEncoding.EncodeToString

	signed := func(head, claims string) string {
		text := encode([]byte(head)) + "." + encode([]byte(claims))
		signature, err := jwt.SigningMethodES256.Sign(text, tokens.key)
		c.must(err)

		return text + "." + encode(signature)
	}

	for _, text := range []string{`\u001b[2J\n{\"level\":\"info\"}`, `\",\"user\":\"root`, "\x1b[2J\n", "\u202e\u2028", "\xff\xfe"} {
		long := strings.Repeat(text, 5000/len(text))

		for _, token := range []string{
			signed(`{"alg":"`+long+`"}`, `{}`), signed(`{"`+long+`":0,"`+long+`":0}`, `{}`), signed(long, `{}`),
			signed(`{"alg":"ES256"}`, `{"`+long+`":0,"`+long+`":0}`), signed(`{"alg":"ES256"}`, `{"aud":"`+long+`","exp":9999999999}`),
			signed(`{"alg":"ES256"}`, `{"aud":"zot","exp":"`+long+`"}`), signed(`{"alg":"ES256"}`, `{"aud":"zot","sub":["`+long+`"]}`),
			signed(`{"alg":"ES256"}`, `{"nbf":`+strings.Repeat("1", 40_000)+`}`), signed(`{"alg":"ES256"}`, long),
		} {
			a := c.raw("PUT /v2/a/manifests/v1 HTTP/1.1\r\nAuthorization: Bearer " + token + "\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
			a.refused(t, http.StatusUnauthorized, "UNAUTHORIZED")

			if len(a.body) > 2000 {
				t.Errorf("an answer of %d bytes: %.200s", len(a.body), a.body)
			}
		}
	}

	lines := 0

	for line := range strings.Lines(c.client.log.String()) {
		if checkLine(t, line)["message"] == "request" {
			lines++
		}
	}

	equal(t, lines, 45, "lines")
}
