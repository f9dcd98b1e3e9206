package api

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"zotregistry.io/zot/pkg/storage"
)

// TestSlowManifestsHoldNobodyUp: clients that hold all memory for large manifests, and go on
// slowly, keep nobody from pushing an image, nor from being told that a manifest is too large.
func TestSlowManifestsHoldNobodyUp(t *testing.T) {
	c := dial(t)
	addr := strings.TrimPrefix(c.base, "http://")

	for n := range largeManifests / storage.MaxManifest {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
		c.must(err)

		t.Cleanup(func() { _ = conn.Close() })

		_, err = fmt.Fprintf(conn, "PUT /v2/a/manifests/slow%d HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"+
			"Content-Length: %d\r\n\r\n", n, storage.MaxManifest)
		c.must(err)

		// "100 Continue": its memory is reserved, and zot waits for the body.
		_, err = io.ReadFull(conn, make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n")))
		c.must(err)
	}

	c.image("a", "v1", "layer")
	c.do(http.MethodPut, "/v2/a/manifests/large", bytes.NewReader(make([]byte, storage.MaxManifest+1))).
		refused(t, http.StatusRequestEntityTooLarge, "SIZE_INVALID")
}
