package auth

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"

	"zotregistry.io/zot/pkg/api/config"
)

func hash(t *testing.T, password string) string {
	t.Helper()

	made, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}

	return string(made)
}

// passwords writes a file of lines.
func passwords(t *testing.T, lines ...string) string {
	t.Helper()

	path := filepath.Join(t.TempDir(), "htpasswd")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}

	return path
}

func equal(t *testing.T, got, want any, what string) {
	t.Helper()

	if got != want {
		t.Errorf("%s: got %.300v, want %.300v", what, got, want)
	}
}

func TestBadHTPasswd(t *testing.T) {
	good := hash(t, "x")

	for line, want := range map[string]string{
		"ann":                           "line 2: not of the form user:hash",
		"ann:{SHA}abc":                  "line 2: the hash of user \"ann\" is not of a kind",
		"ann:$2y$10$abc":                "line 2: the hash of user \"ann\" is no whole bcrypt hash",
		"ann:$apr1$x$y":                 "line 2: the hash of user \"ann\" is not of a kind",
		":" + good:                      "line 2: not of the form user:hash",
		"bob:" + good + "\nbob:" + good: "line 3: user \"bob\" is there twice",
	} {
		path := passwords(t, "#", line)

		_, err := Open(config.HTTP{Auth: config.Auth{HTPasswd: &config.HTPasswd{Path: path}}}, nil)
		if err == nil || !strings.Contains(err.Error(), path+": "+want) || strings.Contains(err.Error(), "abc") {
			t.Errorf("%q: got %v", line, err)
		}
	}

	for _, text := range []string{"", "\n \n"} {
		_, err := openHTPasswd(passwords(t, text))
		equal(t, strings.Contains(fmt.Sprint(err), "is empty"), true, fmt.Sprintf("%q: %v", text, err))
	}

	_, err := Open(config.HTTP{Auth: config.Auth{HTPasswd: &config.HTPasswd{Path: "/no/such"}}}, nil)
	equal(t, errors.Is(err, os.ErrNotExist), true, fmt.Sprint(err))
}

// counted opens a file and counts how often a hash is computed.
func counted(t *testing.T, lines ...string) (*htpasswd, *atomic.Int64) {
	t.Helper()

	h, err := openHTPasswd(passwords(t, lines...))
	if err != nil {
		t.Fatal(err)
	}

	var ran atomic.Int64

	for user, hash := range h.hashes {
		h.hashes[user] = func(password string) bool {
			ran.Add(1)

			return hash(password)
		}
	}

	h.decoys = newDecoys(h.hashes, h.decoys.key)

	return h, &ran
}

// unlimited is a login that never has to wait.
func unlimited(user, password string) login {
	return login{user: user, password: password, allowed: func() error { return nil }}
}

func try(t *testing.T, h *htpasswd, user, password string) bool {
	t.Helper()

	found, err := h.check(t.Context(), unlimited(user, password))
	if err != nil && !errors.Is(err, errWrong) {
		t.Fatal(err)
	}

	if err == nil {
		equal(t, found.Name, user, "user")
	}

	return err == nil
}

func TestPasswordsAreRemembered(t *testing.T) {
	h, ran := counted(t, "ann:"+hash(t, "right"))

	for range 3 {
		equal(t, try(t, h, "ann", "right"), true, "right")
	}

	equal(t, ran.Load(), int64(1), "hashes computed")
	equal(t, try(t, h, "ann", "wrong"), false, "wrong")
	equal(t, try(t, h, "ann", "wrong"), false, "wrong again")
	equal(t, ran.Load(), int64(3), "what is wrong is not remembered")
	equal(t, try(t, h, "annr", "ight"), false, "another name, the same letters")
	equal(t, ran.Load(), int64(4), "a user that is not there takes as long")
}

func TestNoUsers(t *testing.T) {
	h, _ := counted(t, "# nobody yet")
	equal(t, try(t, h, "ann", ""), false, "nobody")
}

func TestPasswordsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, ran := counted(t, "ann:"+hash(t, "right"))
		try(t, h, "ann", "right")
		<-time.After(rememberFor - time.Second)
		try(t, h, "ann", "right")
		equal(t, ran.Load(), int64(1), "before")
		<-time.After(time.Second)
		try(t, h, "ann", "right")
		equal(t, ran.Load(), int64(2), "after")
	})
}

// As many hashes are computed at a time as there are processors; who waits may leave, or
// has to where others have failed meanwhile.
func TestTurns(t *testing.T) {
	h, ran := counted(t, "ann:"+hash(t, "right"))
	for range cap(h.turns) {
		h.turns <- struct{}{}
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	_, err := h.check(ctx, unlimited("ann", "right"))
	equal(t, errors.Is(err, context.Canceled), true, fmt.Sprint(err))

	<-h.turns

	full := &TooManyError{RetryAfter: time.Second}
	_, err = h.check(t.Context(), login{user: "ann", password: "right", allowed: func() error { return full }})
	equal(t, errors.Is(err, full), true, fmt.Sprint(err))
	equal(t, ran.Load(), int64(0), "hashes computed")
}

func FuzzParseHTPasswd(f *testing.F) {
	f.Add("ann:$2y$05$abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz01234")
	f.Add("# x\n\n:")
	f.Add("ann:$6$rounds=1000$salt$" + strings.Repeat("x", keyLengthSHA512))

	f.Fuzz(func(t *testing.T, text string) {
		hashes, err := parseHTPasswd(strings.NewReader(text))
		if err != nil {
			return
		}

		for user, hash := range hashes {
			if user == "" || hash == nil {
				t.Errorf("user %q of %q", user, text)
			}
		}
	})
}
