package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode"

	"zotregistry.io/zot/pkg/api/config"
)

// hostileTexts are what a client may hope to write into a log with.
var hostileTexts = []string{
	"\\n{\"level\":\"info\",\"message\":\"forged\"}", "%0a{%22level%22:%22info%22,%22message%22:%22forged%22}", "%0d%0aforged", "%1b[2Jforged", "%00forged",
	`","user":"root","x":"`, "%22,%22user%22:%22root%22,%22x%22:%22", "\xff\xfeforged", "%ff%fe", "\u009b2Jforged", "%c2%9b2J", "\u202eforged", "%e2%80%ae", "\u2028forged",
	"%e2%80%a8", "\x7f", "%7f", strings.Repeat("A", 30_000), strings.Repeat("%0a", 10_000), "%25s%25n", "${jndi:ldap://x}",
}

// TestHostileTextsInLogs: whatever a client puts into a request, it makes one line in the
// log, and at most one in the audit log; each is one JSON object with nothing in it that a
// terminal obeys, and no field twice.
func TestHostileTextsInLogs(t *testing.T) {
	t.Run("of users that are not there", func(t *testing.T) {
		cfg := config.HTTP{}
		byPassword(t).configure(&cfg)
		checkLogs(t, dialAudited(t, cfg, openRegistry(t)))
	})
	t.Run("of anybody", func(t *testing.T) { checkLogs(t, dialAudited(t, config.HTTP{}, openRegistry(t))) })
}

func checkLogs(t *testing.T, c *audited) {
	t.Helper()

	requests := 0

	for _, text := range hostileTexts {
		for _, lines := range []string{
			"PUT /v2/" + text + "/manifests/v1 HTTP/1.1", "PUT /v2/a/manifests/" + text + " HTTP/1.1", "DELETE /v2/a/blobs/uploads/" + text + " HTTP/1.1",
			"POST /v2/a/blobs/uploads/?mount=" + text + "&from=" + text + " HTTP/1.1", "PUT /v2/a/manifests/v1?tag=" + text + " HTTP/1.1",
			"PUT /v2/a/manifests/v1 HTTP/1.1\r\nUser-Agent: " + text, "PUT /v2/a/manifests/v1 HTTP/1.1\r\nX-Forwarded-For: " + text,
			"PUT /v2/a/manifests/v1 HTTP/1.1\r\nX-Request-Id: " + text, "PUT /v2/a/manifests/v1 HTTP/1.1\r\nContent-Type: " + text,
			"PUT /v2/a/manifests/v1 HTTP/1.1\r\nIf-Match: " + text, "GET /v2/a/blobs/uploads/x HTTP/1.1\r\nRange: " + text,
			"PUT /v2/a/manifests/v1 HTTP/1.1\r\n" + basic(text, "wrong"), text + " /v2/ HTTP/1.1",
		} {
			a := c.raw(lines + "\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
			if a.Header.Get("X-Request-Id") == "" {
				continue // net/http has refused it
			}

			requests++

			if !strings.Contains(c.client.log.String(), `"request":"`+a.Header.Get("X-Request-Id")+`"`) {
				t.Errorf("%.100q is in no line", lines)
			}
		}
	}

	audited, err := os.ReadFile(c.path)
	c.must(err)

	logged := 0

	for line := range strings.Lines(c.client.log.String()) {
		if checkLine(t, line)["message"] == "request" {
			logged++
		}
	}

	equal(t, logged, requests, "lines")

	for line := range bytes.Lines(audited) {
		checkLine(t, string(line))
	}

	if n := bytes.Count(audited, []byte("\n")); n == 0 || n > requests {
		t.Errorf("%d lines in the audit log of %d requests", n, requests)
	}
}

// checkLine checks that a line is one JSON object, each field once, all of it printable, and short.
func checkLine(t *testing.T, line string) map[string]any {
	t.Helper()

	text := strings.TrimSuffix(line, "\n")
	if at := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }); at >= 0 {
		t.Errorf("%q in %.200q", text[at:min(len(text), at+4)], text)
	}

	if len(text) > 10_000 {
		t.Errorf("%d bytes: %.200q", len(text), text)
	}

	dec := json.NewDecoder(strings.NewReader(text))
	fields := map[string]any{}

	if _, err := dec.Token(); err != nil {
		t.Fatalf("%.200q: %v", text, err)
	}

	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			t.Fatalf("%.200q: %v", text, err)
		}

		var value any
		if err := dec.Decode(&value); err != nil {
			t.Fatalf("%.200q: %v", text, err)
		}

		if _, twice := fields[fmt.Sprint(name)]; twice {
			t.Errorf("%v is there twice: %.200q", name, text)
		}

		fields[fmt.Sprint(name)] = value
	}

	if _, err := dec.Token(); err != nil || dec.More() {
		t.Errorf("more than an object: %.200q", text)
	}

	if _, ok := fields["user"]; ok && fields["user"] != "" {
		t.Errorf("the user is said to be %v: %.200q", fields["user"], text)
	}

	return fields
}
