package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// basicOf asks directories.
func basicOf(t *testing.T, directories ...directory) *basic {
	t.Helper()

	return &basic{directories: directories, attempts: mustAttempts(t)}
}

// as is a request of a user.
func as(t *testing.T, user, password string) *http.Request {
	t.Helper()

	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	if err != nil {
		t.Fatal(err)
	}

	r.RemoteAddr = "192.0.2.1:1"

	if password != "" {
		r.SetBasicAuth(user, password)
	}

	return r
}

func TestFailDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := counted(t, "ann:"+hash(t, "right"))
		b := basicOf(t, h)
		b.failDelay = 3 * time.Second

		ask := func(password string) time.Duration {
			start := time.Now()
			_, err := b.User(as(t, "ann", password))
			equal(t, err == nil, password == "right", "let in with "+password)

			return time.Since(start)
		}

		equal(t, ask("right"), time.Duration(0), "right")
		equal(t, ask("wrong"), 3*time.Second, "wrong")
		equal(t, ask(""), time.Duration(0), "no password at all: docker asks so first")
	})
}

// place is a directory that always answers so.
type place struct {
	user User
	err  error
}

func (p place) check(context.Context, login) (User, error) { return p.user, p.err }

func TestDirectories(t *testing.T) {
	var (
		yes  = place{user: User{Name: "ann", Groups: []string{"g"}}}
		no   = place{err: errWrong}
		down = place{err: fmt.Errorf("%w: no route", ErrUnavailable)}
		gone = place{err: context.Canceled}
	)

	for _, row := range []struct {
		what        string
		directories []directory
		want        error
	}{
		{"the second knows", []directory{no, yes}, nil},
		{"none knows", []directory{no, no}, ErrUnauthorized},
		{"the first is down, the second knows", []directory{down, yes}, nil},
		{"the first knows, the second is down", []directory{yes, down}, nil},
		{"one is down, the other does not know", []directory{down, no}, ErrUnavailable},
		{"the other is down", []directory{no, down}, ErrUnavailable},
		{"the client has left", []directory{gone, yes}, context.Canceled},
	} {
		b := basicOf(t, row.directories...)
		user, err := b.User(as(t, "ann", "x"))
		equal(t, errors.Is(err, row.want), true, fmt.Sprint(row.what, ": ", err))
		equal(t, user.Name == "ann", row.want == nil, row.what)

		debt := b.attempts.debts.Len() > 0
		equal(t, debt, errors.Is(row.want, ErrUnauthorized), row.what+": counted as failed")
	}
}

func TestTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, ran := counted(t, "ann:"+hash(t, "right"))
		b := basicOf(t, h)

		ask := func(password string) error {
			_, err := b.User(as(t, "ann", password))

			return err
		}

		equal(t, ask("right"), nil, "right")

		for range pairLimit.burst {
			equal(t, errors.Is(ask("wrong"), ErrUnauthorized), true, "wrong")
		}

		var tooMany *TooManyError

		equal(t, errors.As(ask("wrong"), &tooMany), true, "one more")
		equal(t, tooMany.RetryAfter, pairLimit.every, "when to try again")
		equal(t, errors.As(ask("right"), &tooMany), true, "the right one tells no more than a wrong one")
		equal(t, ran.Load(), int64(1+pairLimit.burst), "hashes computed")

		<-time.After(tooMany.RetryAfter)
		equal(t, ask("right"), nil, "after that time")
	})
}
