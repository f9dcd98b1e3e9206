package api

import (
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"

	"zotregistry.io/zot/pkg/api/config"
)

// profiled is a server with passwords, and who may have profiles.
func profiled(t *testing.T, access *config.AccessControl) (*client, string) {
	t.Helper()

	cfg := config.HTTP{AccessControl: access}
	byPassword(t).configure(&cfg)

	return dialWith(t, cfg, openRegistry(t)), basic("admin", "right")
}

func TestProfiles(t *testing.T) {
	c, admin := profiled(t, limited())

	equal(t, strings.Contains(c.get(pprofPath, admin).expect(t, 200).body, "goroutine"), true, "the list")

	for _, name := range []string{"allocs", "goroutine", "heap", "profile?seconds=0"} {
		unpacked, err := gzip.NewReader(strings.NewReader(c.get(pprofPath+name, admin).expect(t, 200).body))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}

		data, err := io.ReadAll(unpacked)
		equal(t, err, nil, name)
		equal(t, bytes.Contains(data, []byte("nanoseconds")) || bytes.Contains(data, []byte("count")), true, name+" has units")
	}

	traced := c.get(pprofPath+"trace?seconds=0", admin).expect(t, 200).body
	equal(t, strings.HasPrefix(traced, "go 1."), true, "a trace")

	text := c.get(pprofPath+"goroutine?debug=2", admin).expect(t, 200)
	equal(t, strings.Contains(text.body, "TestProfiles"), true, "goroutines as text")

	for _, query := range []string{"profile?seconds=61", "trace?seconds=-1", "profile?seconds=x", "heap?debug=3"} {
		c.get(pprofPath+query, admin).refused(t, 400, "UNSUPPORTED")
	}

	for _, name := range []string{"cmdline", "symbol", "heap/", "../../v2/"} {
		c.get(pprofPath+name, admin).refused(t, 404, "UNSUPPORTED")
	}
}

// TestWhoMayProfile: never everybody.
func TestWhoMayProfile(t *testing.T) {
	dial(t).get(pprofPath+"heap").refused(t, 403, "DENIED")

	public := &config.AccessControl{Repositories: map[string]config.RepositoryPolicy{
		"**": {AnonymousPolicy: []string{"read", "create", "update", "delete"}},
	}}
	dialWith(t, config.HTTP{AccessControl: public}, openRegistry(t)).get(pprofPath+"heap").refused(t, 403, "DENIED")

	c, admin := profiled(t, nil)
	c.get(pprofPath+"heap").refused(t, 401, "UNAUTHORIZED")
	c.get(pprofPath+"heap", admin).expect(t, 200)

	c, _ = profiled(t, limited())
	c.get(pprofPath+"heap", basic("all", "right")).refused(t, 403, "DENIED")
	c.get(pprofPath+"heap").refused(t, 401, "UNAUTHORIZED")
}
