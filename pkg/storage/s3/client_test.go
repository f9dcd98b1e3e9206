package s3

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
)

// TestCutShort: an answer that ends before it should is asked for once more.
func TestCutShort(t *testing.T) {
	const list = `<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated>` +
		`<Contents><Key>a</Key><Size>1</Size></Contents></ListBucketResult>`

	var asked atomic.Int64

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(list)))

		body := list
		if asked.Add(1) == 1 {
			body = list[:len(list)/2]
		}

		_, _ = w.Write([]byte(body)) // and the server closes the connection
	}))
	defer server.Close()

	b, err := connect(t.Context(), Options{
		Bucket: "b", Endpoint: server.URL, AccessKey: "k", SecretKey: "s", PathStyle: true, MaxBackoff: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()

	listed := 0

	for _, err := range b.client.list(t.Context(), "", "", 0) {
		if err != nil {
			t.Fatal(err)
		}

		listed++
	}

	if listed != 1 || asked.Load() != 2 {
		t.Errorf("%d objects are listed by %d requests", listed, asked.Load())
	}
}
