//go:build attack && linux

package attack

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// bomb is a request, and what it may be answered with.
type bomb struct {
	request  func() io.Reader
	statuses []int
}

// fields is a request for /v2/ with these headers.
func fields(text string) func() io.Reader {
	return func() io.Reader { return strings.NewReader("GET /v2/ HTTP/1.1\r\nHost: x\r\n" + text + "\r\n\r\n") }
}

// longer is one that goes on for size bytes.
func longer(begin, text string, size int64) func() io.Reader {
	return func() io.Reader { return io.MultiReader(strings.NewReader(begin), much(text, size)) }
}

const headerLine = "GET /v2/ HTTP/1.1\r\nHost: x\r\n"

var (
	taken  = []int{http.StatusOK}
	large  = []int{http.StatusRequestHeaderFieldsTooLarge}
	refuse = []int{http.StatusBadRequest, http.StatusNotImplemented}
)

var bombs = map[string]bomb{
	"10,000 fields":                {fields(strings.TrimSuffix(strings.Repeat("a:\r\n", 10_000), "\r\n")), taken},
	"100,000 fields":               {fields(strings.Repeat("a: b\r\n", 100_000) + "a: b"), large},
	"fields of 100 MB":             {longer(headerLine, "a: b\r\n", 100<<20), large},
	"a field that does not end":    {longer(headerLine+"A: ", "b", 100<<20), large},
	"a target that does not end":   {longer("GET /", "a", 100<<20), large},
	"a name that does not end":     {longer(headerLine, "a", 100<<20), large},
	"cookies":                      {fields("Cookie: " + strings.Repeat("a=b; ", 12_000)), taken},
	"a large Authorization":        {fields("Authorization: Basic " + strings.Repeat("YTph", 15_000)), taken},
	"10,000 ranges":                {fields("Range: bytes=" + strings.Repeat("0-1,", 10_000) + "0-1"), taken},
	"a large If-None-Match":        {fields("If-None-Match: " + strings.Repeat(`"a",`, 15_000) + `"a"`), taken},
	"two lengths":                  {fields("Content-Length: 1\r\nContent-Length: 2"), refuse},
	"two lengths in one":           {fields("Content-Length: 1, 2"), refuse},
	"a negative length":            {fields("Content-Length: -1"), refuse},
	"a length beyond int64":        {fields("Content-Length: 9223372036854775808"), refuse},
	"a length with a sign":         {fields("Content-Length: +1"), refuse},
	"a coding that nobody knows":   {fields("Transfer-Encoding: gzip"), refuse},
	"chunked, but not last":        {fields("Transfer-Encoding: chunked, identity"), refuse},
	"chunked twice":                {fields("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), refuse},
	"a space before the colon":     {fields("Transfer-Encoding : chunked"), refuse},
	"a folded field":               {fields("A: b\r\n c: d"), append(slices.Clone(taken), refuse...)},
	"NUL in a field":               {fields("A: b\x00c"), refuse},
	"two hosts":                    {fields("Host: y"), refuse},
	"HTTP/1.1 without a host":      {func() io.Reader { return strings.NewReader("GET /v2/ HTTP/1.1\r\n\r\n") }, refuse},
	"HTTP/9.9":                     {func() io.Reader { return strings.NewReader("GET /v2/ HTTP/9.9\r\nHost: x\r\n\r\n") }, []int{505}},
	"no HTTP":                      {func() io.Reader { return strings.NewReader("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n") }, refuse},
	"a chunk longer than it says":  {chunks("3\r\nabcdef\r\n0\r\n\r\n"), refuse},
	"a chunk of a negative size":   {chunks("-1\r\nabc\r\n0\r\n\r\n"), refuse},
	"a chunk of 2^64 bytes":        {chunks("10000000000000000\r\nabc\r\n0\r\n\r\n"), refuse},
	"an extension that has no end": {func() io.Reader { return io.MultiReader(chunks("3;")(), much("a", 100<<20)) }, refuse},
	"a trailer that has no end":    {func() io.Reader { return io.MultiReader(chunks("0\r\nA: ")(), much("a", 100<<20)) }, refuse},
	"100 MB of chunks of one byte": {func() io.Reader { return io.MultiReader(chunks("")(), much("1\r\na\r\n", 100<<20)) }, []int{http.StatusRequestEntityTooLarge, http.StatusBadRequest}},
}

func chunks(body string) func() io.Reader {
	return func() io.Reader {
		return strings.NewReader("PUT /v2/a/manifests/v1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
	}
}

// TestHeaders: headers and bodies that lie, and those that do not end, are refused at once, and
// 8 of each at a time cost next to no memory.
func TestHeaders(t *testing.T) {
	v := start(t, nil)

	v.served(func() {
		for name, bomb := range bombs {
			parallel(8, func(int) {
				if status := exchange(v.dial(), bomb.request()); !slices.Contains(bomb.statuses, status) {
					t.Errorf("%s: status %d, not one of %v", name, status, bomb.statuses)
				}
			})
		}
	})

	v.memoryIsBounded()
}

// TestFraming: where a length and chunks contradict each other, chunks count, whatever the length
// (RFC 9112, 6.3): a proxy that drops the length, as it must, sees the same requests as zot.
func TestFraming(t *testing.T) {
	v := start(t, nil)

	const behind = "GET /v2/behind/tags/list HTTP/1.1\r\nHost: x\r\nX-Request-Id: behind-%d\r\n\r\n"

	for i, length := range []int{0, 3, 5, 60, 1 << 20} {
		framing := fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", length)
		conn := v.dial()
		_, err := io.WriteString(conn, "POST /v2/a/tags/list HTTP/1.1\r\nHost: x\r\n"+framing+fmt.Sprintf(behind, i))
		v.must(err)

		answers := bufio.NewReader(conn)

		for _, want := range []int{http.StatusMethodNotAllowed, http.StatusNotFound} {
			resp, err := http.ReadResponse(answers, nil)
			v.must(err)

			_, err = io.Copy(io.Discard, resp.Body)
			v.must(err)

			if resp.StatusCode != want {
				t.Errorf("length %d: status %d, want %d", length, resp.StatusCode, want)
			}
		}
	}
}
