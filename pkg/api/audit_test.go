package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/audit"
)

// audited is a server with an audit log.
type audited struct {
	*client
	log  *audit.Log
	path string
}

func dialAudited(t *testing.T, cfg config.HTTP, registry Registry) *audited {
	t.Helper()

	path := filepath.Join(t.TempDir(), "audit.log")

	log, err := audit.Open(path, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}

	a := &audited{log: log, path: path, client: dialWith(t, cfg, registry, WithAudit(log))}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})

	return a
}

// entries are the lines since the last call.
func (a *audited) entries() []audit.Entry {
	a.t.Helper()

	data, err := os.ReadFile(a.path)
	a.must(errors.Join(err, os.Truncate(a.path, 0)))

	var all []audit.Entry

	for line := range bytes.Lines(data) {
		var entry audit.Entry
		a.must(json.Unmarshal(line, &entry))
		all = append(all, entry)
	}

	return all
}

// one is the line of the only change since the last call.
func (a *audited) one(what string) audit.Entry {
	a.t.Helper()

	all := a.entries()
	if len(all) != 1 {
		a.t.Fatalf("%s: %d lines: %+v", what, len(all), all)
	}

	return all[0]
}

func TestAudit(t *testing.T) {
	cfg := config.HTTP{AccessControl: limited()}
	byPassword(t).configure(&cfg)

	registry, _, manifest := keeper(t)
	c := dialAudited(t, cfg, registry)
	body := c.get("/v2/secret/app/manifests/"+manifest.String(), basic("all", "right")).expect(t, 200).body
	pushed := []string{basic("all", "right"), "Content-Type: " + mediaTypeManifest}

	equal(t, len(c.entries()), 0, "what is read is no change")

	a := c.send("PUT", "/v2/secret/app/manifests/v2?tag=v3", body, pushed...).expect(t, 201)
	got := c.one("a push")
	equal(t, got.Request, a.Header.Get("X-Request-Id"), "request")
	equal(t, got.Time.IsZero() || got.Remote == "", false, "when, and from where")
	got.Time, got.Remote, got.Request = got.Time.AddDate(-got.Time.Year(), 0, 0), "", ""
	equal(t, strings.Join([]string{got.User, got.Method, got.Path, got.Repository, got.Reference, got.Code}, " "),
		"all PUT /v2/secret/app/manifests/v2 secret/app v2 ", "a push")
	equal(t, strings.Join(got.Tags, " "), "v3", "other tags")
	equal(t, got.Digest, manifest.String(), "digest")
	equal(t, got.Status, 201, "status")

	c.send("PUT", "/v2/secret/app/manifests/v4", "{", pushed...).expect(t, 400)
	got = c.one("a push that is invalid")
	equal(t, got.Status == 400 && got.Code == "MANIFEST_INVALID" && got.Digest == "", true, "its outcome")

	c.do("DELETE", "/v2/secret/app/manifests/v2", nil, basic("read", "right")).expect(t, 403)
	got = c.one("what may not be done")
	equal(t, got.Status == 403 && got.Code == "DENIED" && got.User == "read" && got.Reference == "v2", true, "its outcome")

	c.do("DELETE", "/v2/secret/app/manifests/v2", nil, basic("all", "wrong")).expect(t, 401)
	got = c.one("a wrong password")
	equal(t, got.Status == 401 && got.Code == "UNAUTHORIZED" && got.User == "", true, "its outcome")

	c.do("DELETE", "/v2/secret/app/manifests/v2", nil, basic("all", "right")).expect(t, 202)
	equal(t, c.one("a deletion").Status, 202, "its outcome")

	c.do("DELETE", "/v2/secret/app/_oci/repository", nil, basic("admin", "right")).expect(t, 202)
	equal(t, c.one("a repository").Repository, "secret/app", "its name")

	c.do("POST", "/v2/secret/app/tags/list", nil, basic("all", "right")).expect(t, 405)
	c.do("PUT", "/favicon.ico", nil).expect(t, 404)
	equal(t, len(c.entries()), 0, "what nothing can come of is no attempt")
}

// TestAuditUploads: a blob is a line, whatever requests it was pushed by; pieces are none.
func TestAuditUploads(t *testing.T) {
	c := dialAudited(t, config.HTTP{}, openRegistry(t))
	dgst := digest.FromString("layer")

	at := c.do("POST", "/v2/a/blobs/uploads/", nil).expect(t, 202).Header.Get("Location")
	c.send("PATCH", at, "lay").expect(t, 202)
	equal(t, len(c.entries()), 0, "pieces")

	c.send("PUT", at+"?digest="+dgst.String(), "er").expect(t, 201)
	got := c.one("the end of an upload")
	equal(t, got.Digest == dgst.String() && strings.HasSuffix(at, got.Reference) && got.Reference != "", true, "what it was")

	c.do("POST", "/v2/b/blobs/uploads/?mount="+dgst.String()+"&from=a", nil).expect(t, 201)
	got = c.one("a mount")
	equal(t, got.From+" "+got.Repository+" "+got.Digest, "a b "+dgst.String(), "a mount")

	at = c.do("POST", "/v2/a/blobs/uploads/", nil).expect(t, 202).Header.Get("Location")
	c.do("DELETE", at, nil).expect(t, 204)
	equal(t, c.one("a cancelled upload").Status, 204, "its outcome")

	c.send("POST", "/v2/a/blobs/uploads/?digest="+dgst.String(), "other").expect(t, 400)
	equal(t, c.one("another blob").Code, "DIGEST_INVALID", "its outcome")
}

// TestAuditPanic: a bug of ours is an outcome, too.
func TestAuditPanic(t *testing.T) {
	c := dialAudited(t, config.HTTP{}, broken{})
	c.do("DELETE", "/v2/a/manifests/v1", nil).expect(t, http.StatusInternalServerError)
	equal(t, c.one("a bug").Status, 500, "its outcome")
}

// TestAuditOfAPIKeys: the line of a key that is revoked says which one that was.
func TestAuditOfAPIKeys(t *testing.T) {
	cfg := config.HTTP{AccessControl: limited()}
	byPassword(t).configure(&cfg)
	cfg.Auth.APIKey = true

	registry, _, _ := keeper(t)
	c := dialAudited(t, cfg, registry)
	made := c.makeKey(`{"label": "ci"}`, basic("all", "right"))
	c.one("a key is made")

	c.send("DELETE", apiKeys+"?id="+made.UUID, "", basic("all", "right"))

	got := c.one("a key is revoked")
	equal(t, got.User+" "+got.Method+" "+got.Reference, "all DELETE "+made.UUID, "a key is revoked")
}
