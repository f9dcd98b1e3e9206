//go:build replicas

package replicas

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// TestRedirect: with redirectBlobURL blobs, and ranges of them, are read from a signed URL
// of the bucket.
func TestRedirect(t *testing.T) {
	for _, dedupe := range []bool{true, false} {
		t.Run(fmt.Sprintf("dedupe=%v", dedupe), func(t *testing.T) {
			c := newCluster(t)
			c.add(t, 2, settings{"redirectBlobURL": true, "dedupe": dedupe})

			img := mustImage(t, 1, 3000, 6<<20, 17<<20)
			c.push(t, 0, img, "a")
			c.verify(t, img, "a") // the client follows

			for _, blob := range append(img.Blobs, img.Manifest) {
				for i, r := range c.replicas {
					if exists, err := r.BlobExists(t.Context(), "a", digest.FromBytes(blob)); err != nil || !exists {
						t.Errorf("replica %d: HEAD is not answered by zot itself: %v", i, err)
					}

					c.verifyRedirect(t, i, blob, "")
					c.verifyRedirect(t, i, blob, fmt.Sprintf("bytes=%d-%d", len(blob)/3, len(blob)/2))
					c.verifyRedirect(t, i, blob, "bytes=-10")
				}
			}
		})
	}
}

// verifyRedirect gets a blob by hand: an answer that sends the client to the bucket, and
// then bytes that belong to the range.
func (c *cluster) verifyRedirect(t *testing.T, i int, blob []byte, byteRange string) {
	t.Helper()

	url := "http://" + c.replicas[i].zot.Addr + "/v2/a/blobs/" + digest.FromBytes(blob).String()
	first := c.get(t, url, byteRange)

	signed := first.header.Get("Location")
	if first.status != http.StatusTemporaryRedirect || !strings.HasPrefix(signed, c.s3.Endpoint+"/"+c.bucket+"/") {
		t.Errorf("replica %d, %s: status %d, location %q", i, byteRange, first.status, signed)

		return
	}

	second := c.get(t, signed, byteRange)
	want, status := cut(t, blob, byteRange)

	if second.status != status || !bytes.Equal(second.body, want) {
		t.Errorf("replica %d, %s: status %d, %d bytes of %d", i, byteRange, second.status, len(second.body), len(want))
	}
}

type got struct {
	status int
	header http.Header
	body   []byte
}

// get asks once, and follows nothing.
func (c *cluster) get(t *testing.T, url, byteRange string) got {
	t.Helper()

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	must(t, err)

	if byteRange != "" {
		req.Header.Set("Range", byteRange)
	}

	transport := &http.Transport{DisableKeepAlives: true}

	resp, err := transport.RoundTrip(req)
	must(t, err)
	defer resp.Body.Close()

	body, err := io.ReadAll(resp.Body)
	must(t, err)

	return got{resp.StatusCode, resp.Header, body}
}

// cut is what a range selects, and the status that comes with it.
func cut(t *testing.T, blob []byte, byteRange string) ([]byte, int) {
	t.Helper()

	var from, to int

	switch n, _ := fmt.Sscanf(byteRange, "bytes=%d-%d", &from, &to); {
	case byteRange == "":
		return blob, http.StatusOK
	case n == 2:
		return blob[from : to+1], http.StatusPartialContent
	default:
		return blob[len(blob)+from:], http.StatusPartialContent // "bytes=-10" reads as -10
	}
}
