package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"zotregistry.io/zot/internal/servers"
	"zotregistry.io/zot/pkg/api/config"
)

// object is a part of a configuration file.
type object = map[string]any

// changing is a zot whose configuration is changed.
type changing struct {
	*running

	t    *testing.T
	root string
	seen int // lines of the log
}

// mustChange starts zot with alice's password and an access control.
func mustChange(t *testing.T, change func(http, file object)) *changing {
	t.Helper()
	t.Chdir(t.TempDir())
	mustMakeFiles(t)

	c := &changing{t: t, root: filepath.Join(t.TempDir(), "data")}
	c.write(change)

	c.running = mustStart(t, func(ctx context.Context, log *logLines) error {
		return Run(ctx, []string{"serve", "config.json"}, Streams{Out: log, Err: io.Discard})
	})
	t.Cleanup(func() { c.mustStop(t) })
	c.next("listening")

	return c
}

// write replaces the configuration file by a rename.
func (c *changing) write(change func(http, file object)) {
	c.t.Helper()

	section := object{
		"port": "0", "auth": object{"htpasswd": object{"path": "htpasswd"}, "failDelay": 0},
		"accessControl": object{"repositories": object{"**": object{"defaultPolicy": []string{"read"}}}},
	}
	file := object{
		"storage": object{"rootDirectory": c.root, "lockWait": "0s"}, "http": section, "log": object{"level": "info"},
	}

	if change != nil {
		change(section, file)
	}

	data, err := json.Marshal(file)
	c.must(err)
	c.must(os.WriteFile("next", data, 0o600))
	c.must(os.Rename("next", "config.json"))
}

func (c *changing) must(err error) {
	c.t.Helper()

	if err != nil {
		c.t.Fatal(err)
	}
}

// next waits for a line that was logged since the last call, and begins so. It returns those
// before it, too.
func (c *changing) next(message string) (line object, before []object) {
	c.t.Helper()

	for {
		c.log.mu.Lock()
		lines, more := c.log.lines[c.seen:], c.log.more
		c.log.mu.Unlock()

		for i, line := range lines {
			if text, _ := line["message"].(string); strings.HasPrefix(text, message) {
				c.seen += i + 1

				return line, lines[:i]
			}
		}

		select {
		case <-more:
		case err := <-c.done:
			c.t.Fatalf("it ended before it logged %q: %v", message, err)
		}
	}
}

// taken waits until changes are taken in, and says which.
func (c *changing) taken() (changed string, before []object) {
	c.t.Helper()

	line, before := c.next("configuration reloaded")

	return fmt.Sprint(line["changed"]), before
}

// status is what a user is answered to a request.
func (c *changing) status(method, path, user, password string) int {
	c.t.Helper()

	req := mustRequest(c.t, method, c.url+path, nil)
	if user != "" {
		req.SetBasicAuth(user, password)
	}

	return mustSend(c.t, req).StatusCode
}

func (c *changing) equal(got, want any, what string) {
	c.t.Helper()

	if !reflect.DeepEqual(got, want) {
		c.t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func users(t *testing.T, names ...string) []byte {
	t.Helper()

	var lines []string

	for _, name := range names {
		hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}

		lines = append(lines, name+":"+string(hash)+"\n")
	}

	return []byte(strings.Join(lines, ""))
}

// TestReloadTakesEffect: each key that can be changed is, and holds from then on.
func TestReloadTakesEffect(t *testing.T) {
	c := mustChange(t, nil)
	c.equal(c.status("POST", "/v2/a/blobs/uploads/", "alice", "secret"), 403, "before")

	c.write(func(http, _ object) {
		http["accessControl"] = object{"repositories": object{"**": object{"defaultPolicy": []string{"read", "create"}}}}
	})
	changed, _ := c.taken()
	c.equal(changed, "[http.accessControl.repositories[**].defaultPolicy]", "changed")
	c.equal(c.status("POST", "/v2/a/blobs/uploads/", "alice", "secret"), 202, "accessControl")

	c.must(os.WriteFile("htpasswd", users(t, "bob"), 0o600))
	c.taken()
	c.equal(c.status("GET", "/v2/", "alice", "secret"), 401, "who was removed from htpasswd")
	c.equal(c.status("GET", "/v2/", "bob", "secret"), 200, "who was added")

	c.must(os.WriteFile("others", users(t, "carol"), 0o600))
	c.write(func(http, _ object) { http["auth"] = object{"htpasswd": object{"path": "others"}} })
	changed, _ = c.taken()
	c.equal(strings.Contains(changed, "http.auth.htpasswd.path"), true, changed)
	c.equal(c.status("GET", "/v2/", "carol", "secret"), 200, "http.auth.htpasswd.path")

	// The new file is watched as well.
	c.must(os.WriteFile("others", users(t, "dan"), 0o600))
	c.taken()
	c.equal(c.status("GET", "/v2/", "dan", "secret"), 200, "the other file")
}

// TestReloadKeys: what changes in the file is named in the log; nothing needs a restart.
func TestReloadKeys(t *testing.T) {
	c := mustChange(t, nil)

	ldap := object{
		"address": "127.0.0.1", "port": 1, "baseDN": "dc=x", "userAttribute": "uid",
		"credentialsFile": "ldap.json",
	}

	for _, row := range []struct {
		want   string
		change func(http, file object)
	}{
		{"[http.auth.ldap]", func(http, _ object) { http["auth"].(object)["ldap"] = ldap }},
		{"[http.auth.ldap]", nil},
		{"[http.auth.bearer]", func(http, _ object) {
			http["auth"].(object)["bearer"] = object{"realm": "https://a.example/token", "service": "zot", "cert": "token.crt"}
		}},
		{"[http.auth.bearer]", nil},
		{"[http.auth.failDelay]", func(http, _ object) { http["auth"].(object)["failDelay"] = 1 }},
		{"[http.auth.failDelay http.ratelimit]", func(http, _ object) { http["ratelimit"] = object{"rate": 1000} }},
		{"[http.ratelimit storage.gcInterval]", func(_, file object) { file["storage"].(object)["gcInterval"] = "2h" }},
		{"[storage.gcInterval storage.retention]", func(_, file object) {
			file["storage"].(object)["retention"] = object{"policies": []object{{"repositories": []string{"**"}}}}
		}},
		{"[storage.gc storage.retention]", func(_, file object) { file["storage"].(object)["gc"] = false }},
		{"[storage.gc]", nil},
	} {
		c.write(row.change)

		changed, before := c.taken()
		c.equal(changed, row.want, "changed")
		c.equal(len(before), 0, fmt.Sprint("nothing but ", before))
	}
}

// TestReloadLevel: lines of a level come and go.
func TestReloadLevel(t *testing.T) {
	c := mustChange(t, nil)
	c.status("GET", "/livez", "", "") // a line of level debug

	c.write(func(_, file object) { file["log"] = object{"level": "debug"} })
	_, before := c.taken()

	for _, line := range before {
		c.equal(line["level"] == "debug", false, fmt.Sprint(line))
	}

	c.status("GET", "/livez", "", "")

	line, _ := c.next("request")
	c.equal(line["level"], "debug", "level of a probe")
}

// TestReloadRefused: a bad file changes nothing, and the log names all that is wrong.
func TestReloadRefused(t *testing.T) {
	c := mustChange(t, func(http, _ object) { http["tls"] = object{"cert": "server.crt", "key": "server.key"} })
	tls := object{"cert": "server.crt", "key": "server.key"}
	ca := servers.NewCA(t)
	_, otherKey := ca.Issue(t)

	c.must(os.WriteFile("broken", []byte("nonsense"), 0o600))

	for _, row := range []struct {
		keys   string
		change func(http, file object)
	}{
		{"http.accessControl.repositories[**].defaultPolicy[0] http.auth.htpasswd.path", func(http, _ object) {
			http["accessControl"] = object{"repositories": object{"**": object{"defaultPolicy": []string{"fly"}}}}
			http["auth"] = object{"htpasswd": object{"path": "missing"}}
		}},
		{"http.auth.htpasswd.path", func(http, _ object) { http["auth"] = object{"htpasswd": object{"path": "broken"}} }},
		{"http.auth.ldap.caCert", func(http, _ object) {
			http["auth"].(object)["ldap"] = object{"address": "x", "baseDN": "dc=x", "userAttribute": "uid", "caCert": "broken"}
		}},
		{"http.auth.bearer.cert", func(http, _ object) {
			http["auth"].(object)["bearer"] = object{"realm": "https://a.example/token", "service": "zot", "cert": "broken"}
		}},
		{"http.tls.cert", func(http, _ object) { http["tls"] = object{"cert": "server.crt", "key": otherKey} }},
		{"http.tls.cacert", func(http, _ object) {
			http["tls"] = object{"cert": "server.crt", "key": "server.key", "cacert": "broken"}
		}},
		{"storage.retention.policies[0].keepTags[0].patterns[0]", func(_, file object) {
			file["storage"].(object)["retention"] = object{"policies": []object{{
				"repositories": []string{"**"}, "keepTags": []object{{"patterns": []string{"("}}},
			}}}
		}},
		{"log.level", func(_, file object) { file["log"] = object{"level": "loud"} }},
		{"http.prot", func(http, _ object) { http["prot"] = 1 }},
	} {
		c.write(func(http, file object) {
			http["tls"] = tls
			http["accessControl"] = nil // would let everyone do everything
			delete(http, "accessControl")
			row.change(http, file)
		})

		_, before := c.next("configuration refused")

		var keys []string

		for _, line := range before {
			if line["message"] == "wrong in the configuration" {
				keys = append(keys, fmt.Sprint(line["key"]))
				c.equal(strings.Contains(fmt.Sprint(line["mistake"]), "; "), true, fmt.Sprint("a remedy: ", line["mistake"]))
			}
		}

		c.equal(strings.Join(keys, " "), row.keys, "keys")
		c.equal(c.status("POST", "/v2/a/blobs/uploads/", "alice", "secret"), 403, row.keys+": what was in force")
		c.equal(c.status("GET", "/v2/", "alice", "secret"), 200, row.keys+": who could log in")
	}

	c.must(os.WriteFile("config.json", []byte(`{"storage": {`), 0o600))
	line, _ := c.next("configuration refused")
	c.equal(strings.Contains(fmt.Sprint(line["error"]), "not valid JSON"), true, "half a file")

	c.must(os.Remove("config.json"))
	c.next("configuration refused")
	c.write(func(http, _ object) { http["tls"] = tls })

	changed, _ := c.taken()
	c.equal(changed, "[]", "in the end")
}

// TestReloadFiles: a bad file that the configuration names is refused, and the old one stays.
func TestReloadFiles(t *testing.T) {
	ca := servers.NewCA(t)
	c := mustChange(t, func(http, _ object) { http["tls"] = object{"cert": "server.crt", "key": "server.key"} })

	served := func() string {
		t.Helper()

		resp := mustSend(t, mustRequest(t, http.MethodGet, c.url+"/livez", nil))

		return resp.TLS.PeerCertificates[0].Subject.CommonName
	}

	c.must(os.WriteFile("htpasswd", []byte("alice:plain\n"), 0o600))
	c.next("configuration refused")
	c.equal(c.status("GET", "/v2/", "alice", "secret"), 200, "who could log in")
	c.must(os.WriteFile("htpasswd", users(t, "alice"), 0o600))
	c.taken()

	// Emptied, and written in two steps.
	whole := users(t, "alice", "bob")
	for _, cut := range []int{0, len(whole) - 10} {
		c.must(os.WriteFile("htpasswd", whole[:cut], 0o600))
		c.next("configuration refused")
		c.equal(c.status("GET", "/v2/", "alice", "secret"), 200, "who could log in")
	}

	// Who asks is told again what is wrong.
	c.must(syscall.Kill(os.Getpid(), syscall.SIGHUP))
	c.next("configuration refused")
	c.must(os.WriteFile("htpasswd", whole, 0o600))
	c.taken()
	c.equal(c.status("GET", "/v2/", "bob", "secret"), 200, "who was added")

	cert, key := ca.Issue(t)
	c.must(os.Rename(cert, "server.crt"))
	c.next("configuration refused")
	c.equal(served(), "localhost", "certificate, the key being another's")
	c.must(os.Rename(key, "server.key"))
	c.taken()
	c.equal(served(), "server", "certificate")
}

// TestNeedsRestart: what cannot be changed is named, the rest is taken in.
func TestNeedsRestart(t *testing.T) {
	c := mustChange(t, nil)

	c.write(func(http, file object) {
		http["port"], http["readTimeout"] = "1", "1m"
		http["accessControl"] = object{"repositories": object{"**": object{"defaultPolicy": []string{"read", "create"}}}}
		store := file["storage"].(object)
		store["gcDelay"], store["gcInterval"], store["commit"] = "2h", "3h", false
		file["log"] = object{"level": "info", "output": "log"}
	})

	changed, before := c.taken()
	c.equal(changed, "[http.accessControl.repositories[**].defaultPolicy storage.gcInterval]", "changed")
	c.equal(restarts(before), "http.port http.readTimeout log.output storage.commit storage.gcDelay",
		"needs a restart")
	c.equal(c.status("POST", "/v2/a/blobs/uploads/", "alice", "secret"), 202, "accessControl")
}

func restarts(lines []object) string {
	var keys []string

	for _, line := range lines {
		if strings.HasPrefix(fmt.Sprint(line["message"]), "needs a restart") {
			keys = append(keys, fmt.Sprint(line["key"]))
		}
	}

	return strings.Join(keys, " ")
}

// TestHeld: what lets clients in waits with that which it depends on.
func TestHeld(t *testing.T) {
	for what, change := range map[string]func(http object){
		"http.address":     func(http object) { http["address"] = "127.0.0.2" },
		"http.tls":         func(http object) { http["tls"] = object{"cert": "server.crt", "key": "server.key"} },
		"http.auth.apikey": func(http object) { http["auth"] = object{"apikey": true, "htpasswd": object{"path": "htpasswd"}} },
	} {
		t.Run(what, func(t *testing.T) {
			c := mustChange(t, nil)
			c.write(func(http, file object) {
				delete(http, "accessControl")
				change(http)

				file["storage"].(object)["gcInterval"] = "3h"
			})

			changed, before := c.taken()
			c.equal(changed, "[storage.gcInterval]", "changed")
			c.equal(strings.Contains(restarts(before), "http.accessControl"), true, restarts(before))
			c.equal(strings.Contains(restarts(before), what), true, restarts(before))

			for _, line := range before {
				if line["key"] == "http.accessControl" {
					c.equal(fmt.Sprint(line["with"]), "["+what+"]", "what it waits with")
				}
			}

			c.equal(c.status("POST", "/v2/a/blobs/uploads/", "alice", "secret"), 403, "accessControl")

			// Files are read again all the same.
			c.must(os.WriteFile("htpasswd", users(t, "bob"), 0o600))
			c.taken()
			c.equal(c.status("GET", "/v2/", "alice", "secret"), 401, "who was removed")
			c.equal(c.status("GET", "/v2/", "bob", "secret"), 200, "who was added")
		})
	}
}

// TestMoved: what says what is removed waits with where images are.
func TestMoved(t *testing.T) {
	removing := object{"policies": []object{{"repositories": []string{"**"}, "keepTags": []object{{"patterns": []string{"x"}}}}}}

	for what, change := range map[string]func(store object){
		"storage.rootDirectory": func(store object) { store["rootDirectory"] = "other" },
		"storage.subPaths[/x]":  func(store object) { store["subPaths"] = object{"/x": object{"rootDirectory": "other"}} },
	} {
		t.Run(what, func(t *testing.T) {
			c := mustChange(t, nil)
			c.write(func(http, file object) {
				store := file["storage"].(object)
				store["retention"], store["undelete"] = removing, "0s"
				http["ratelimit"] = object{"rate": 1000}

				change(store)
			})

			changed, before := c.taken()
			c.equal(changed, "[http.ratelimit]", "changed")
			c.equal(restarts(before), strings.Join(sorted("storage.retention", "storage.undelete", what), " "), "needs a restart")

			for _, line := range before {
				if line["key"] == "storage.retention" {
					c.equal(fmt.Sprint(line["with"]), "["+what+"]", "what it waits with")
				}
			}

			c.write(func(_, file object) { file["storage"].(object)["retention"] = removing })

			changed, _ = c.taken()
			c.equal(changed, "[http.ratelimit storage.retention]", "changed where images stay")
		})
	}
}

func sorted(keys ...string) []string {
	slices.Sort(keys)

	return keys
}

// TestHeldWith: which keys wait with others.
func TestHeldWith(t *testing.T) {
	cfg, next := config.Default(), config.Default()
	next.HTTP.Address, next.Storage.RootDirectory = "127.0.0.2", "other"

	for key, want := range map[string]string{
		"http.accessControl": "[http.address]", "http.auth.htpasswd": "[http.address]", "http.tls.cacert": "[http.address]",
		"http.address": "[]", "http.tls": "[]", "http.ratelimit": "[]",
		"storage.gc": "[storage.rootDirectory]", "storage.subPaths[/a.b].gc": "[storage.rootDirectory]",
		"storage.retention.policies": "[storage.rootDirectory]", "storage.subPaths[/a].retention": "[storage.rootDirectory]",
		"storage.gcDelay": "[]", "storage.rootDirectory": "[]", "storage.subPaths[/gc]": "[]",
	} {
		if got := fmt.Sprint(heldWith(key, cfg, next)); got != want {
			t.Errorf("%s: waits with %s, want %s", key, got, want)
		}
	}
}

// TestNoWayLeft: a file that replaces passwords by logins of a browser does not leave zot without
// any way to log in until its restart.
func TestNoWayLeft(t *testing.T) {
	cfg, next := config.Default().HTTP, config.Default().HTTP
	cfg.Auth.HTPasswd = &config.HTPasswd{Path: "htpasswd"}
	next.Auth.OpenID = &config.OpenID{}

	if merged := mergeHTTP(cfg, next); merged.Auth.HTPasswd == nil {
		t.Error("nobody can log in, and everyone may do everything")
	}
}

// TestHangup: SIGHUP has the configuration read again, and logs opened anew.
func TestHangup(t *testing.T) {
	t.Chdir(t.TempDir())
	mustMakeFiles(t)

	path := mustWrite(t, "config.json", `{"storage": {"rootDirectory": "data", "lockWait": "0s"}, "http": {"port": "0"},
		"log": {"level": "info", "output": "zot.log", "audit": "audit.log"}}`)

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)

	go func() { done <- Run(ctx, []string{"serve", path}, Streams{Out: io.Discard, Err: io.Discard}) }()

	waitFor(t, "zot.log", "listening")

	for _, name := range []string{"zot.log", "audit.log"} {
		if err := os.Rename(name, name+".1"); err != nil {
			t.Fatal(err)
		}
	}

	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}

	waitFor(t, "zot.log", "logs are opened anew", "configuration reloaded")
	waitFor(t, "audit.log")
	cancel()

	if err := <-done; err != nil {
		t.Fatal(err)
	}

	waitFor(t, "zot.log", "stopped")
}

// waitFor waits until a file is there that holds texts.
func waitFor(t *testing.T, path string, texts ...string) {
	t.Helper()

	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()

	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-tick.C {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}

		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(string(data), text) }) {
			return
		}
	}

	t.Fatalf("%s does not say %q", path, texts)
}
