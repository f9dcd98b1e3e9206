//go:build attack && linux

package attack

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestLargeManifests: 64 manifests of 100 MB at once are refused, most of them before they
// are read, and are never in memory whole.
func TestLargeManifests(t *testing.T) {
	const size, chunk = 100 << 20, 32 << 10

	head := "PUT /v2/a/manifests/v1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\n"
	chunked := fmt.Sprintf("%x\r\n%s\r\n", chunk, strings.Repeat("[", chunk))

	for name, request := range map[string]func() io.Reader{
		"with their length": func() io.Reader {
			return io.MultiReader(strings.NewReader(head+fmt.Sprintf("Content-Length: %d\r\n\r\n", size)), much("[", size))
		},
		"in chunks": func() io.Reader {
			return io.MultiReader(strings.NewReader(head+"Transfer-Encoding: chunked\r\n\r\n"),
				io.LimitReader(&endless{text: chunked}, int64(size/chunk*len(chunked))), strings.NewReader("0\r\n\r\n"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := start(t, nil)

			v.served(func() {
				parallel(64, func(int) {
					if status := exchange(v.dial(), request()); status != http.StatusRequestEntityTooLarge {
						t.Errorf("status %d", status)
					}
				})
			})

			v.memoryIsBounded()
		})
	}
}

// TestDeepManifests: bodies of 8 MiB that are made to be hard to read, 16 at once.
func TestDeepManifests(t *testing.T) {
	const size = 8<<20 - 1024

	v := start(t, nil)

	v.served(func() {
		for _, piece := range []string{"[", `{"a":`, `{},`, `"",`, `9`, "\xff"} {
			parallel(16, func(int) {
				head := `{"schemaVersion":2,"layers":[`
				request := io.MultiReader(strings.NewReader(put(size)+head), much(piece, int64(size-len(head))))

				if status := exchange(v.dial(), request); status != http.StatusBadRequest {
					t.Errorf("%q: status %d", piece, status)
				}
			})
		}
	})

	v.memoryIsBounded()
}

// TestLargeIndexes: indexes that name as much as there is room for, of which nothing is there, and
// one with a million entries.
func TestLargeIndexes(t *testing.T) {
	v := start(t, nil)

	const head = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[`

	entry := func(n int) string {
		return fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%064x","size":1}`, n)
	}

	index := func(worker, entries int) string {
		var body strings.Builder

		body.WriteString(head + entry(worker*entries))

		for n := 1; n < entries; n++ {
			body.WriteString("," + entry(worker*entries+n))
		}

		return body.String() + "]}"
	}

	v.served(func() {
		parallel(16, func(worker int) {
			body := index(worker, 25_000) // some 3.7 MB

			if status := exchange(v.dial(), strings.NewReader(put(len(body))+body)); status != http.StatusBadRequest {
				t.Errorf("status %d", status)
			}
		})

		body := index(0, 1_000_000)
		if status := exchange(v.dial(), strings.NewReader(put(len(body))+body)); status != http.StatusRequestEntityTooLarge {
			t.Errorf("a million entries: status %d", status)
		}
	})

	v.memoryIsBounded()
}

// put is the head of a request that pushes a manifest.
func put(length int) string {
	return fmt.Sprintf("PUT /v2/a/manifests/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", length)
}
