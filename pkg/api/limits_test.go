package api

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"zotregistry.io/zot/pkg/api/config"
)

// equalStatus sends n requests, and wants the last answered with status.
func (c *client) equalStatus(n, status int, method, path string, headers ...string) answer {
	c.t.Helper()

	var last answer
	for range n {
		last = c.do(method, path, nil, headers...)
	}

	if last.StatusCode != status {
		c.t.Fatalf("%s %s, request %d: %s %s, want %d", method, path, n, last.Status, last.body, status)
	}

	return last
}

func withRates(limit config.RateLimit) func(*config.HTTP) {
	return func(cfg *config.HTTP) { cfg.RateLimit = &limit }
}

func TestLimitOfAll(t *testing.T) {
	cfg := config.HTTP{RateLimit: &config.RateLimit{Rate: 1}}
	c := dialWith(t, cfg, openRegistry(t))

	c.equalStatus(1, http.StatusOK, http.MethodGet, "/v2/")
	refused := c.equalStatus(1, http.StatusTooManyRequests, http.MethodGet, "/none")

	if after, err := strconv.Atoi(refused.Header.Get("Retry-After")); err != nil || after != 1 {
		t.Errorf("Retry-After: %q, want 1", refused.Header.Get("Retry-After"))
	}

	if code := `"code":"TOOMANYREQUESTS"`; !strings.Contains(refused.body, code) {
		t.Errorf("%s, want %s", refused.body, code)
	}

	c.equalStatus(5, http.StatusOK, http.MethodGet, "/livez")
}

func TestLimitOfMethod(t *testing.T) {
	cfg := config.HTTP{RateLimit: &config.RateLimit{Methods: []config.MethodRate{{Method: "HEAD", Rate: 1}}}}
	c := dialWith(t, cfg, openRegistry(t))

	c.equalStatus(2, http.StatusTooManyRequests, http.MethodHead, "/v2/")
	c.equalStatus(5, http.StatusOK, http.MethodGet, "/v2/")
}

func TestLimitOfAddress(t *testing.T) {
	c := locked(t, withRates(config.RateLimit{PerClient: &config.ClientRate{Rate: 1, Burst: 2}}))

	c.equalStatus(2, http.StatusUnauthorized, http.MethodGet, "/v2/")
	c.equalStatus(1, http.StatusTooManyRequests, http.MethodGet, "/v2/")

	if got := c.as("ann", "se:cret"); got.StatusCode != http.StatusTooManyRequests {
		t.Errorf("a password of an address that is refused: %s; want that it is not looked at", got.Status)
	}
}

func TestLimitOfUserIsNotThatOfAddress(t *testing.T) {
	c := locked(t, withRates(config.RateLimit{PerClient: &config.ClientRate{Rate: 1, Burst: 2}}))

	for i, want := range []int{http.StatusOK, http.StatusOK, http.StatusTooManyRequests} {
		if got := c.as("ann", "se:cret"); got.StatusCode != want {
			t.Errorf("request %d: %s, want %d", i, got.Status, want)
		}
	}

	c.equalStatus(1, http.StatusUnauthorized, http.MethodGet, "/v2/")
}

func TestFailedLoginsAreChargedToTheAddress(t *testing.T) {
	c := locked(t, withRates(config.RateLimit{PerClient: &config.ClientRate{Rate: 1, Burst: 2}}))

	for i, want := range []int{http.StatusUnauthorized, http.StatusUnauthorized, http.StatusTooManyRequests} {
		if got := c.as("ann", "wrong"); got.StatusCode != want {
			t.Errorf("request %d: %s, want %d", i, got.Status, want)
		}
	}
}

func TestLimitIsRefilled(t *testing.T) {
	l, err := newLimits(&config.RateLimit{PerClient: &config.ClientRate{Rate: 2}})
	if err != nil {
		t.Fatal(err)
	}

	now := time.Unix(1, 0)
	l.now = func() time.Time { return now }

	ask := func(remote string) error {
		r := &request{Request: &http.Request{Method: http.MethodGet, RemoteAddr: remote}}

		return l.admit(r, false)
	}

	for i, want := range []bool{true, true, false} {
		if err := ask("[2001:db8::1]:1"); (err == nil) != want {
			t.Errorf("request %d: %v", i, err)
		}
	}

	if err := ask("[2001:db8::2]:1"); err == nil {
		t.Error("another address of the same /64 has a limit of its own")
	}

	if err := ask("[2001:db8:0:1::1]:1"); err != nil {
		t.Errorf("another /64: %v", err)
	}

	now = now.Add(500 * time.Millisecond)

	if err := ask("[2001:db8::1]:1"); err != nil {
		t.Errorf("after half a second: %v", err)
	}
}

func TestClientsAreBounded(t *testing.T) {
	all, err := newClients(1, 1)
	if err != nil {
		t.Fatal(err)
	}

	for i := range 100_000 {
		all.of(fmt.Sprint("address ", i))
	}

	if n := all.buckets.Len(); n != clientsMost {
		t.Errorf("%d clients are remembered, want %d", n, clientsMost)
	}
}
