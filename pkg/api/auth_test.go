package api

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
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

// locked serves a store to ann only.
func locked(t *testing.T, change func(*config.HTTP)) *client {
	t.Helper()

	path := passwords(t, "# users", "", "ann:"+hash(t, "se:cret"))
	cfg := config.HTTP{Auth: config.Auth{HTPasswd: &config.HTPasswd{Path: path}}}

	if change != nil {
		change(&cfg)
	}

	return dialWith(t, cfg, openRegistry(t))
}

// as asks for /v2/ with a name and a password.
func (c *client) as(user, password string) answer {
	c.t.Helper()

	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, c.base, nil)
	c.must(err)
	req.SetBasicAuth(user, password)

	return c.get("/v2/", "Authorization: "+req.Header.Get("Authorization"))
}

func TestBasicAuth(t *testing.T) {
	c := locked(t, nil)

	for range 2 { // the second time it is remembered
		c.as("ann", "se:cret").expect(t, 200)
		equal(t, c.line()["user"], "ann", "user in the log")
	}

	for user, password := range map[string]string{"ann": "wrong", "bob": "se:cret", "": ""} {
		a := c.as(user, password).refused(t, 401, "UNAUTHORIZED")
		equal(t, a.Header.Get("WWW-Authenticate"), `Basic realm="zot", charset="UTF-8"`, "challenge")
		equal(t, c.line()["user"], "", "user in the log")
	}

	for _, path := range []string{"/v2/", "/v2/_catalog", "/v2/a/tags/list", "/v2/A/tags/list", "/v2/a/blobs/x"} {
		c.get(path).refused(t, 401, "UNAUTHORIZED")
		c.get(path, "Authorization: Bearer x").refused(t, 401, "UNAUTHORIZED")
	}

	c.do(http.MethodPost, "/v2/a/blobs/uploads/", nil).refused(t, 401, "UNAUTHORIZED")

	for _, path := range []string{"/livez", "/readyz", "/startupz"} {
		c.get(path).expect(t, 200)
	}

	equal(t, strings.Contains(c.log.String(), "cret"), false, "a password is in the log")
}

func TestRealm(t *testing.T) {
	c := locked(t, func(cfg *config.HTTP) { cfg.Realm = `a "b" \c` })
	equal(t, c.get("/v2/").Header.Get("WWW-Authenticate"), `Basic realm="a \"b\" \\c", charset="UTF-8"`, "challenge")
}

// Who guesses has to wait, and learns nothing meanwhile.
func TestGuessing(t *testing.T) {
	c := locked(t, nil)

	var tries int
	for c.as("ann", "wrong").StatusCode == http.StatusUnauthorized {
		tries++
	}

	equal(t, tries, 20, "guesses")

	for _, password := range []string{"wrong", "se:cret"} {
		a := c.as("ann", password).refused(t, 429, "TOOMANYREQUESTS")
		equal(t, a.Header.Get("WWW-Authenticate"), "", "challenge")

		if wait, err := strconv.Atoi(a.Header.Get("Retry-After")); err != nil || wait < 1 || wait > 6 {
			t.Errorf("Retry-After: %q", a.Header.Get("Retry-After"))
		}
	}

	c.get("/livez").expect(t, 200)
	equal(t, strings.Contains(c.log.String(), "cret"), false, "a password is in the log")
}

// While a directory is down nobody knows whether a password is right; those who are in the
// file get in.
func TestDirectoryDown(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	port := listener.Addr().(*net.TCPAddr).Port
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}

	c := locked(t, func(cfg *config.HTTP) {
		cfg.Auth.LDAP = &config.LDAP{Address: "127.0.0.1", Port: port, BaseDN: "dc=x", UserAttribute: "uid"}
	})

	c.as("ann", "se:cret").expect(t, 200)

	for range 30 { // more than may fail: it is no failure of the client's
		a := c.as("bob", "pass:word").refused(t, 503, "UNKNOWN")
		equal(t, a.Header.Get("Retry-After"), "1", "when to try again")
		equal(t, a.Header.Get("WWW-Authenticate"), "", "challenge")
	}

	c.as("ann", "wrong").refused(t, 503, "UNKNOWN")
	c.get("/v2/").refused(t, 401, "UNAUTHORIZED")
	equal(t, strings.Contains(c.log.String(), "cret") || strings.Contains(c.log.String(), "pass:word"), false, "a password is in the log")
}

// A user that is not there takes as long as one that is. Without the decoy the one takes
// a hundredth of the other.
func TestTimingOfUnknownUsers(t *testing.T) {
	slow, err := bcrypt.GenerateFromPassword([]byte("right"), 9)
	if err != nil {
		t.Fatal(err)
	}

	path := passwords(t, "ann:"+string(slow))
	c := dialWith(t, config.HTTP{Auth: config.Auth{HTPasswd: &config.HTPasswd{Path: path}}}, openRegistry(t))
	took := map[string][]time.Duration{}

	for range 15 {
		for _, user := range []string{"ann", "bob"} {
			start := time.Now()
			c.as(user, "wrong").expect(t, http.StatusUnauthorized)
			took[user] = append(took[user], time.Since(start))
		}
	}

	ann, bob := median(took["ann"]), median(took["bob"])
	if bob < ann/2 || ann < bob/2 {
		t.Errorf("a known user is refused in %s, an unknown one in %s", ann, bob)
	}
}

func median(of []time.Duration) time.Duration {
	slices.Sort(of)

	return of[len(of)/2]
}
