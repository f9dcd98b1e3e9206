package s3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
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

// TestPatience: a server that fails again and again is not asked for ever.
func TestPatience(t *testing.T) {
	var asked atomic.Int64

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		time.Sleep(20 * time.Millisecond)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer server.Close()

	b, err := connect(t.Context(), Options{
		Bucket: "b", Endpoint: server.URL, AccessKey: "k", SecretKey: "s", PathStyle: true, MaxBackoff: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()

	b.client.patience.serving.Store(true)

	if _, err := b.client.head(t.Context(), "a"); err == nil || asked.Load() != maxAttempts {
		t.Errorf("after %d requests: %v; %d were to be sent", asked.Load(), err, maxAttempts)
	}

	asked.Store(0)
	b.client.patience.limit = 30 * time.Millisecond

	if _, err := b.client.head(t.Context(), "a"); !errors.Is(err, errPatience) || asked.Load() != 2 {
		t.Errorf("after %d requests, of which two take longer than it may: %v", asked.Load(), err)
	}
}

// TestSlowBody: a server that takes a body slowly, but all the time, is waited for; and a
// connection that was idle gives the next answer all of its time.
func TestSlowBody(t *testing.T) {
	const limit = 1200 * time.Millisecond

	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		for piece := make([]byte, 1<<20); ; time.Sleep(limit / 8) {
			if _, err := io.ReadFull(r.Body, piece); err != nil {
				return
			}
		}
	}))
	// A kernel that buffers megabytes lets the client go on only when many are read.
	server.Config.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		if err := conn.(interface{ SetReadBuffer(bytes int) error }).SetReadBuffer(64 << 10); err != nil {
			t.Error(err)
		}

		return ctx
	}

	server.Start()
	defer server.Close()

	pool := newTransport(nil, limit)
	defer pool.CloseIdleConnections()

	for range 2 {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, server.URL, bytes.NewReader(make([]byte, 10<<20)))
		if err != nil {
			t.Fatal(err)
		}

		answer, err := pool.RoundTrip(request)
		if err != nil {
			t.Fatalf("a request that moved all the time: %v", err)
		}

		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			t.Error(err)
		}

		_ = answer.Body.Close()

		time.Sleep(limit * 3 / 4)
	}
}
