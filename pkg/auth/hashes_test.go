package auth

import (
	"strings"
	"testing"
	"time"
)

// The sha-crypts were made by glibc's crypt(3).
func TestHashes(t *testing.T) {
	for password, hashes := range map[string][]string{
		"right": {
			hash(t, "right"),
			strings.Replace(hash(t, "right"), "$2a$", "$2y$", 1),
			"$5$abcdefgh$C7VyRZs0npbCFai/XpQEnaVXYbZWFch0rqUEsU32AU/",
			"$6$abcdefghijklmnop$UTUf16fknAJvm93wbQmcX/j.XuZ6tMhadC.8b2QRh1FWnIJFeaRs3UUuHsRT0dWM52PKtuPkLhVm2NRWApVV11",
			"$5$rounds=1000$ab$v0aFRHtvkTolV0qGgxo3m9xo/FhGLSGHgasUVPyww/8",
			"$6$rounds=1234$abcd$uGlUgpR.ywZN9fp5mMkhqQw0EB9Qube3ab0gynkQdUQWnF/hWs51Qhhb46bRwQtSMEhVGM46XTohTiSp/0RkK1",
		},
		"pässword with 64 characters, which is one whole block of sha-256, ok": {
			"$5$abc$Mpd9W.0ryvyDm7fckDXIHrT5V/Lwxqqm1jqBCTevY62",
		},
		strings.Repeat("x", 200): {
			"$6$abc$9bIqFS3gcEah7ONB5aYjFczb7Fkaut01.W86FsbxH3PnKOS.T6QNYs7qzjm/MziNMzBBXqOaoSNUc4PtFnUj0.",
		},
	} {
		for _, text := range hashes {
			matches, err := parseHash(text)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}

			equal(t, matches(password), true, text)
			equal(t, matches(password+"x"), false, text+" with another password")
			equal(t, matches(""), false, text+" without a password")
		}
	}
}

func TestBadHashes(t *testing.T) {
	for _, text := range []string{
		"", "plain", "$", "$1$a$b", "$apr1$a$b", "{SHA}x", "$2y$05$short", "$2x", "$5$", "$6$salt$", "$6$salt$short",
		"$5$rounds=999$ab$v0aFRHtvkTolV0qGgxo3m9xo/FhGLSGHgasUVPyww/8",
		"$5$rounds=x$ab$v0aFRHtvkTolV0qGgxo3m9xo/FhGLSGHgasUVPyww/8",
		"$5$more=1000$ab$v0aFRHtvkTolV0qGgxo3m9xo/FhGLSGHgasUVPyww/8",
		"$6$rounds=1000$ab$v0aFRHtvkTolV0qGgxo3m9xo/FhGLSGHgasUVPyww/8",
		"$5$seventeen-letters$v0aFRHtvkTolV0qGgxo3m9xo/FhGLSGHgasUVPyww/8",
		"$5$ab$v0aFRHtvkTolV0qGgxo3m9xo/FhGLSGHgasUVPyww/8$more",
	} {
		_, err := parseHash(text)
		if err == nil || len(text) > 8 && strings.Contains(err.Error(), text[5:]) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A user that is not there has the decoy of some user that is, always the same one, also
// after a restart.
func TestDecoys(t *testing.T) {
	used := map[int]int{}
	path := passwords(t, "a:"+hash(t, "a"), "b:"+hash(t, "b"), "c:"+hash(t, "c"))

	for i := range 100 {
		name := strings.Repeat("x", i)
		first, second := decoyOf(t, path, name), decoyOf(t, path, name)
		equal(t, first, second, "decoy of the same name")

		used[first]++
	}

	if used[0] < 10 || used[1] < 10 || used[2] < 10 {
		t.Errorf("decoys of 100 names: %v", used)
	}
}

// decoyOf opens the file and returns which hash a name gets.
func decoyOf(t *testing.T, path, name string) int {
	t.Helper()

	h, err := openHTPasswd(path)
	if err != nil {
		t.Fatal(err)
	}

	found := -1
	for i := range h.decoys.hashes {
		h.decoys.hashes[i] = func(string) bool {
			found = i

			return false
		}
	}

	h.decoys.of(name)("")

	return found
}

// sha-crypt's time grows with the square of the password's length.
func TestLongPassword(t *testing.T) {
	h, ran := counted(t, "ann:"+hash(t, "right"))
	b := &basic{directories: []directory{h}}

	_, err := b.ask(t.Context(), unlimited("ann", strings.Repeat("x", maxPassword+1)))
	equal(t, err, errWrong, "too long")
	equal(t, ran.Load(), int64(0), "hashes computed")

	matches, err := parseHash("$6$abc$" + strings.Repeat("x", keyLengthSHA512))
	equal(t, err, nil, "error")

	start := time.Now()

	matches(strings.Repeat("x", maxPassword))

	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the longest password takes %s", took)
	}
}
