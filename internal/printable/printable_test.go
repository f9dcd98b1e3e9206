package printable_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"zotregistry.io/zot/internal/printable"
)

func TestJSON(t *testing.T) {
	for text, want := range map[string]string{
		"plain\n":    "plain\n",
		"caf\u00e9":  "caf\u00e9",
		"\U0001f600": "\U0001f600",
		"a\x7fb":     `a\u007fb`,
		"\u009b2J":   `\u009b2J`,
		"\u202ex":    `\u202ex`,
		"\u2028":     `\u2028`,
		"\ufeff":     `\ufeff`,
		"\U000e0001": `\udb40\udc01`,
		"\xff":       `\ufffd`,
	} {
		if got := string(printable.JSON([]byte(text))); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func FuzzJSON(f *testing.F) {
	f.Add("caf\u00e9 \u202e \U000e0001 \x7f")
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ToValidUTF8(text, "")

		line, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}

		var out bytes.Buffer
		if n, err := (printable.Writer{Writer: &out}).Write(line); n != len(line) || err != nil {
			t.Errorf("wrote %d of %d: %v", n, len(line), err)
		}

		var back string
		if err := json.Unmarshal(out.Bytes(), &back); err != nil || back != text {
			t.Errorf("%q became %q: %v", text, back, err)
		}

		if strings.ContainsFunc(out.String(), func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q is not printable", out.String())
		}
	})
}
