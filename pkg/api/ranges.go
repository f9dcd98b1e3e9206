package api

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
)

// wantsRange says whether a GET asks for a part of dgst. If-Range with anything but
// its entity tag asks for the whole (RFC 9110, 13.1.5).
func wantsRange(header http.Header, dgst digest.Digest) bool {
	condition := header.Get("If-Range")

	return header.Get("Range") != "" && (condition == "" || condition == etagOf(dgst))
}

// parseRange reads a Range header for a blob of size bytes. What is not one range of
// bytes is answered with the whole, as RFC 9110, 14.2 allows: a malformed header, or
// several ranges, which no client of a registry sends.
//
// Errors: storage.ErrRange if no byte of the blob is in the range.
func parseRange(header string, size int64) (storage.Range, error) {
	unit, spec, ok := strings.Cut(strings.TrimSpace(header), "=")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return storage.Whole, nil
	}

	first, last, ok := strings.Cut(strings.TrimSpace(spec), "-")
	if !ok {
		return storage.Whole, nil
	}

	if first == "" {
		return suffixRange(last, size)
	}

	from, okFrom := parseOffset(first)
	to, okTo := parseOffset(last)

	if last == "" {
		to, okTo = 1<<63-1, true
	}

	return clipRange(from, to, size, okFrom && okTo)
}

// suffixRange is the last n bytes.
func suffixRange(n string, size int64) (storage.Range, error) {
	length, ok := parseOffset(n)
	if ok && length == 0 {
		return storage.Range{}, fmt.Errorf("%w: the last 0 bytes", storage.ErrRange)
	}

	return clipRange(max(0, size-length), size-1, size, ok)
}

// clipRange cuts a range at the end of the blob.
func clipRange(from, to, size int64, ok bool) (storage.Range, error) {
	if !ok {
		return storage.Whole, nil
	}

	if from >= size || to < from {
		return storage.Range{}, fmt.Errorf("%w: bytes %d to %d of %d", storage.ErrRange, from, to, size)
	}

	return storage.Range{Offset: from, Length: min(to, size-1) - from + 1}, nil
}

// parseContentRange reads the Content-Range of a chunk, which in the
// distribution-spec is "<first>-<last>" with nothing around it.
//
// Errors: errHeader.
func parseContentRange(header string) (offset, length int64, err error) {
	first, last, _ := strings.Cut(header, "-")
	from, okFrom := parseOffset(first)
	to, okTo := parseOffset(last)

	if !okFrom || !okTo || to < from || to-from+1 < 0 {
		return 0, 0, fmt.Errorf("%w: Content-Range of a chunk is <first byte>-<last byte>, not %q", errHeader, header)
	}

	return from, to - from + 1, nil
}

// parseOffset reads digits and nothing else. A number too large for a file is one
// that is larger than any file.
func parseOffset(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}

	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 1<<63 - 1, true
	}

	return n, true
}
