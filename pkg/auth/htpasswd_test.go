package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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
		"ann":                           "line 2: user \"ann\" has no bcrypt hash",
		"ann:{SHA}abc":                  "line 2: user \"ann\" has no bcrypt hash",
		"ann:$apr1$x$y":                 "line 2: user \"ann\" has no bcrypt hash",
		":" + good:                      "line 2: not of the form user:hash",
		"bob:" + good + "\nbob:" + good: "line 3: user \"bob\" is there twice",
	} {
		path := passwords(t, "#", line)

		_, err := Open(config.HTTP{Auth: config.Auth{HTPasswd: &config.HTPasswd{Path: path}}})
		if err == nil || !strings.Contains(err.Error(), path+", "+want) || strings.Contains(err.Error(), "abc") {
			t.Errorf("%q: got %v", line, err)
		}
	}

	_, err := Open(config.HTTP{Auth: config.Auth{HTPasswd: &config.HTPasswd{Path: "/no/such"}}})
	equal(t, errors.Is(err, os.ErrNotExist), true, fmt.Sprint(err))
}

// counted opens a file of ann's and counts how often bcrypt runs, and against what.
func counted(t *testing.T, lines ...string) (*htpasswd, *atomic.Int64) {
	t.Helper()

	h, err := openHTPasswd(passwords(t, lines...), "", 0)
	if err != nil {
		t.Fatal(err)
	}

	var ran atomic.Int64

	h.verify = func(hash, password []byte) error {
		ran.Add(1)

		return bcrypt.CompareHashAndPassword(hash, password)
	}

	return h, &ran
}

func try(t *testing.T, h *htpasswd, user, password string) bool {
	t.Helper()

	right, err := h.check(t.Context(), user, password)
	if err != nil {
		t.Fatal(err)
	}

	return right
}

func TestPasswordsAreRemembered(t *testing.T) {
	h, ran := counted(t, "ann:"+hash(t, "right"))

	for range 3 {
		equal(t, try(t, h, "ann", "right"), true, "right")
	}

	equal(t, ran.Load(), int64(1), "bcrypt ran")
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

func TestRememberedIsBounded(t *testing.T) {
	m, now := newRemembered(), time.Now()

	for i := range 3 * rememberMost {
		mark := passwordMark{byte(i), byte(i >> 8), byte(i >> 16)}
		m.add(mark, now)

		if !m.has(mark, now) || len(m.until) > rememberMost {
			t.Fatalf("entry %d is there: %v, of %d", i, m.has(mark, now), len(m.until))
		}
	}

	m.makeRoom(now.Add(rememberFor))
	equal(t, len(m.until), 0, "what has expired goes first")
}

// As many bcrypts run as there are processors; who waits may leave.
func TestTurns(t *testing.T) {
	h, ran := counted(t, "ann:"+hash(t, "right"))
	for range cap(h.turns) {
		h.turns <- struct{}{}
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	_, err := h.check(ctx, "ann", "right")
	equal(t, errors.Is(err, context.Canceled), true, fmt.Sprint(err))
	equal(t, ran.Load(), int64(0), "bcrypt ran")
}

func TestFailDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := counted(t, "ann:"+hash(t, "right"))
		h.failDelay = 3 * time.Second

		ask := func(password string) time.Duration {
			start := time.Now()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
			equal(t, err, nil, "error")

			if password != "" {
				r.SetBasicAuth("ann", password)
			}

			_, err = h.User(r)
			equal(t, err == nil, password == "right", "let in with "+password)

			return time.Since(start)
		}

		equal(t, ask("right"), time.Duration(0), "right")
		equal(t, ask("wrong"), 3*time.Second, "wrong")
		equal(t, ask(""), time.Duration(0), "no password at all: docker asks so first")
	})
}

func FuzzParseHTPasswd(f *testing.F) {
	f.Add("ann:$2y$05$abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz01234")
	f.Add("# x\n\n:")

	f.Fuzz(func(t *testing.T, text string) {
		hashes, err := parseHTPasswd(strings.NewReader(text))
		if err != nil {
			return
		}

		for user, hash := range hashes {
			if _, err := bcrypt.Cost(hash); err != nil || user == "" {
				t.Errorf("user %q with hash %q: %v", user, hash, err)
			}
		}
	})
}
