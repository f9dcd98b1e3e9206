package auth

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// until fails attempts until one is not allowed, and returns how many those were.
func until(t *testing.T, now time.Time, next func(i int) *attempt) int {
	t.Helper()

	for i := range 10000 {
		a := next(i)
		if err := a.allowed(now); err != nil {
			var tooMany *TooManyError
			if !errors.As(err, &tooMany) || tooMany.RetryAfter <= 0 {
				t.Errorf("error %v", err)
			}

			return i
		}

		a.failed(now)
	}

	t.Fatal("10000 attempts are allowed")

	return 0
}

func mustAttempts(t *testing.T) *attempts {
	t.Helper()

	a, err := newAttempts()
	if err != nil {
		t.Fatal(err)
	}

	return a
}

func TestAttempts(t *testing.T) {
	now := time.Now()

	t.Run("at one user from one address", func(t *testing.T) {
		a := mustAttempts(t)
		same := func(int) *attempt { return a.of("ann", "192.0.2.1:1") }

		equal(t, until(t, now, same), pairLimit.burst, "at first")
		equal(t, a.of("bob", "192.0.2.1:1").allowed(now), nil, "another user")
		equal(t, a.of("ann", "192.0.2.2:1").allowed(now), nil, "another address")
		equal(t, until(t, now.Add(pairLimit.every-time.Millisecond), same), 0, "before the time is over")
		equal(t, until(t, now.Add(pairLimit.every), same), 1, "after it")
		equal(t, until(t, now.Add(time.Hour), same), pairLimit.burst, "much later")
	})

	t.Run("at one user, however the name is written", func(t *testing.T) {
		a := mustAttempts(t)
		spelled := []string{"ann", "Ann", " ANN", "ann "}

		equal(t, until(t, now, func(n int) *attempt { return a.of(spelled[n%len(spelled)], "192.0.2.1:1") }), pairLimit.burst, "at first")
	})

	t.Run("at many users from one address", func(t *testing.T) {
		a := mustAttempts(t)
		equal(t, until(t, now, func(i int) *attempt {
			return a.of(fmt.Sprint(i), fmt.Sprintf("192.0.2.1:%d", i))
		}), addressLimit.burst, "attempts")
	})

	t.Run("at one user from many addresses", func(t *testing.T) {
		a := mustAttempts(t)
		equal(t, until(t, now, func(i int) *attempt {
			return a.of("ann", fmt.Sprintf("192.0.2.%d:1", i))
		}), userLimit.burst, "attempts")
	})

	t.Run("IPv6 addresses of one network are one", func(t *testing.T) {
		a := mustAttempts(t)
		equal(t, until(t, now, func(i int) *attempt {
			return a.of("ann", fmt.Sprintf("[2001:db8::%x]:1", i+1))
		}), pairLimit.burst, "attempts")
	})
}

// What others do does not keep a user out of where it has logged in from.
func TestProven(t *testing.T) {
	now := time.Now()
	a := mustAttempts(t)
	ann := a.of("ann", "192.0.2.1:1")
	ann.succeeded(now)

	until(t, now, func(i int) *attempt { return a.of("ann", fmt.Sprintf("192.0.3.%d:1", i)) })
	until(t, now, func(i int) *attempt { return a.of(fmt.Sprint(i), "192.0.2.1:1") })

	equal(t, ann.allowed(now), nil, "where ann has logged in from")
	equal(t, a.of("ann", "192.0.2.9:1").allowed(now) != nil, true, "ann is kept out elsewhere")
	equal(t, a.of("bob", "192.0.2.1:1").allowed(now) != nil, true, "others are kept out here")
	equal(t, until(t, now, func(int) *attempt { return ann }), pairLimit.burst, "guesses from there")
}

func TestAttemptsAreBounded(t *testing.T) {
	a, now := mustAttempts(t), time.Now()

	for i := range attemptsMost {
		one := a.of(fmt.Sprint(i), fmt.Sprintf("192.%d.%d.1:1", i/256, i%256))
		one.failed(now)
		one.succeeded(now)
	}

	equal(t, a.debts.Len(), attemptsMost, "debts")
	equal(t, a.proven.Len(), attemptsMost, "proven")
}

func TestNetwork(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:80":           "192.0.2.1",
		"[::ffff:192.0.2.1]:80":  "192.0.2.1",
		"[2001:db8:1:2:3::4]:80": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:80":      "fe80::/64",
		"@":                      "@",
		"host:80":                "host:80",
	} {
		equal(t, Network(remote), want, remote)
	}
}
