package api

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// raw sends bytes over a connection of its own, and returns the first answer. A request whose
// answer is not there within a minute fails the test.
func (c *client) raw(request string) answer {
	c.t.Helper()

	conn, err := (&net.Dialer{}).DialContext(c.t.Context(), "tcp", strings.TrimPrefix(c.base, "http://"))
	c.must(err)

	defer func() { _ = conn.Close() }()

	c.must(conn.SetDeadline(time.Now().Add(time.Minute)))

	go func() { _, _ = io.WriteString(conn, request) }() // what is refused may not be read to its end

	asked, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, c.base, nil)
	c.must(err)

	asked.Method, _, _ = strings.Cut(request, " ") // an answer to HEAD has no body

	resp, err := http.ReadResponse(bufio.NewReader(conn), asked)
	if err != nil {
		c.t.Fatalf("%.200q: no answer: %v", request, err)
	}

	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20)) // what was sent may have broken the connection

	return answer{Response: resp, body: string(body)}
}

// ask sends a request without a body for a target that is taken as it is.
func (c *client) ask(method, target string, headers ...string) answer {
	c.t.Helper()

	return c.raw(method + " " + target + " HTTP/1.1\r\nHost: x\r\n" + strings.Join(append(headers, "\r\n"), "\r\n"))
}

// hostilePaths are targets that name nothing, however they are read.
func hostilePaths(dgst string) []string {
	hex := strings.TrimPrefix(dgst, "sha256:")

	return []string{
		// Repositories.
		"/v2/../../etc/passwd", "/v2/a/../../../etc/tags/list", "/v2/%2e%2e/tags/list", "/v2/%2e%2e%2f%2e%2e%2fetc/tags/list",
		"/v2/a%2f..%2fa/tags/list", "/v2/a%5c..%5ca/tags/list", "/v2/..%5ca/tags/list", "/v2/%252e%252e/tags/list", "/v2/a%252ftags/tags/list",
		"/v2/a%00/tags/list", "/v2/a/tags/list%00", "/v2/%c0%ae%c0%ae/tags/list", "/v2/a%c0%afb/tags/list", "/v2/%ff/tags/list",
		"/v2/%ef%bc%8e%ef%bc%8e/tags/list", "/v2/a//tags/list", "/v2//a/tags/list", "/v2/a/./tags/list", "//v2/a/tags/list", "/v2/a/tags/list/",
		"/v2/A/tags/list", "/v2/a%0a/tags/list", "/v2/a%20/tags/list", "/v2/_zot/tags/list", "/v2/.zot/tags/list", "/v2/a/.uploads/tags/list",
		"/v2/cache.db/tags/list", "/v2/a/index.json/tags/list", "/v2/a/blobs/sha256/tags/list", "/v2/" + strings.Repeat("a", 256) + "/tags/list",
		"/V2/a/tags/list", "/v2/a/tags/List", "/v2;/a/tags/list", "/v2/a;x/tags/list", "/v2/a/tags/list;x", "/%762/a/tags/lis", "*",

		// Digests.
		"/v2/a/blobs/sha256:../../../../etc/passwd", "/v2/a/blobs/sha256:..%2f..%2fetc%2fpasswd", "/v2/a/blobs/sha256:%2e%2e",
		"/v2/a/blobs/sha256:" + strings.ToUpper(hex), "/v2/a/blobs/SHA256:" + hex, "/v2/a/blobs/sha256:" + hex[:63], "/v2/a/blobs/sha256:" + hex + "0",
		"/v2/a/blobs/sha256%00:" + hex, "/v2/a/blobs/sha256:" + hex + "%00", "/v2/a/blobs/sha256:" + hex + "%0a", "/v2/a/blobs/md5:" + hex[:32],
		"/v2/a/blobs/sha512:" + hex, "/v2/a/blobs/sha384:" + hex + hex[:32], "/v2/a/blobs/" + hex, "/v2/a/blobs/sha256/" + hex, "/v2/a/blobs/sha256+b64:" + hex,
		"/v2/a/manifests/sha256:../../index.json", "/v2/a/manifests/sha256:" + strings.ToUpper(hex), "/v2/a/referrers/sha256:..", "/v2/a/referrers/latest",

		// Tags.
		"/v2/a/manifests/..", "/v2/a/manifests/%2e%2e", "/v2/a/manifests/..%2f..%2fv1", "/v2/a/manifests/v1%2f", "/v2/a/manifests/v1%00",
		"/v2/a/manifests/x/v1", "/v2/a/manifests/", "/v2/a/manifests/" + strings.Repeat("v", 129), "/v2/a/manifests/%c3%a9", "/v2/a/manifests/-v1",
		"/v2/a/_oci/tag-history/..", "/v2/a/_oci/tag-history/%2e%2e%2f%2e%2e", "/v2/a/_oci/tag-history/v1%00", "/v2/a/_oci/tag-history/",
		"/v2/a/_oci/tag-history/v1/x", "/v2/a/_oci/tag-history/sha256:" + hex,

		// Uploads.
		"/v2/a/blobs/uploads/..", "/v2/a/blobs/uploads/%2e%2e", "/v2/a/blobs/uploads/..%2f..%2fb%2f.uploads%2fx", "/v2/a/blobs/uploads/%00",
		"/v2/a/blobs/uploads/x%2f..", "/v2/a/blobs/uploads/.", "/v2/a/blobs/uploads/..%5cx", "/v2/a/blobs/uploads/" + strings.Repeat("x", 5000),
		"/v2/a/blobs/uploads/00000000-0000-0000-0000-000000000000.note", "/v2/a/blobs/uploads/%ff", "/v2/a/blobs/uploads/x%0ax",

		// Absolute forms, which name the same as others.
		"http://127.0.0.1/v2/a/../a/tags/list", "file:///etc/passwd", "http://elsewhere/etc/passwd",
	}
}

// hostileQueries are queries that cannot be meant.
var hostileQueries = []string{
	"/v2/a/tags/list?n=-1", "/v2/a/tags/list?n=1e9", "/v2/a/tags/list?n=99999999999999999999", "/v2/a/tags/list?n=%00", "/v2/a/tags/list?n=0x1",
	"/v2/a/tags/list?n=%f0%9d%9f%8f", "/v2/_catalog?n=-1", "/v2/_catalog?n=9223372036854775808", "/v2/a/tags/list?%zz", "/v2/_catalog?n=1;n=2",
	"/v2/a/_oci/tag-history/v1?n=-1", "/v2/a/_oci/tag-history/v1?last=-1", "/v2/a/_oci/tag-history/v1?last=..", "/v2/a/_oci/tag-history/v1?last=99999999999999999999",
}

// TestHostilePaths: what a path may hide is never found, for any method, and each answer
// is an error of the distribution-spec that blames the client.
func TestHostilePaths(t *testing.T) {
	c := dial(t)
	_, dgst := c.image("a", "v1", "layer")
	before := c.get("/v2/_catalog").body + c.get("/v2/a/tags/list").body + c.get("/v2/a/_oci/tag-history/v1").body

	for _, target := range append(hostilePaths(dgst.String()), hostileQueries...) {
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "PATCH", "POST"} {
			a := c.ask(method, target, "Content-Length: 0")
			if a.StatusCode < 400 || a.StatusCode >= 500 {
				t.Errorf("%s %.100s: status %d: %.300s", method, target, a.StatusCode, a.body)
			}

			if method != "HEAD" && a.Header.Get("X-Request-Id") != "" && strings.HasPrefix(a.codes(), "not JSON") {
				t.Errorf("%s %.100s: %.300s", method, target, a.codes())
			}

			if strings.Contains(a.body, "root:") || strings.Contains(a.body, "layer") {
				t.Errorf("%s %.100s: %.300s", method, target, a.body)
			}
		}
	}

	equal(t, c.get("/v2/_catalog").body+c.get("/v2/a/tags/list").body+c.get("/v2/a/_oci/tag-history/v1").body, before, "what is there")
}

// TestHostileQueries: what is only a place to go on from, or a thing to look for, need not be
// there, nor be a name.
func TestHostileQueries(t *testing.T) {
	c := dial(t)
	_, dgst := c.image("a", "v1", "layer")
	layer := c.blob("a", "layer")

	for _, value := range []string{"..", "../../etc", "%2e%2e%2f", "%00", "%ff", "%c0%af", "%0a%1b", strings.Repeat("z", 60_000)} {
		for _, target := range []string{
			"/v2/a/tags/list?last=", "/v2/_catalog?last=", "/v2/a/referrers/" + dgst.String() + "?artifactType=",
		} {
			if a := c.ask("GET", target+value); a.StatusCode >= 500 {
				t.Errorf("%s%.20s: %d %.300s", target, value, a.StatusCode, a.body)
			}
		}

		for _, query := range []string{
			"mount=" + layer.String() + "&from=" + value, "mount=" + value + "&from=a", "digest=" + value, "digest-algorithm=" + value,
		} {
			a := c.ask("POST", "/v2/b/blobs/uploads/?"+query, "Content-Length: 0")
			if a.StatusCode == http.StatusCreated || a.StatusCode >= 500 {
				t.Errorf("%.200s: %d %.300s", query, a.StatusCode, a.body)
			}
		}

		a := c.ask("PUT", "/v2/a/manifests/"+dgst.String()+"?tag="+value, "Content-Length: 0")
		equal(t, a.StatusCode, http.StatusBadRequest, fmt.Sprintf("a tag %.20q", value))
	}

	equal(t, c.get("/v2/b/tags/list").StatusCode, http.StatusNotFound, "a repository that nothing was mounted to")
}
