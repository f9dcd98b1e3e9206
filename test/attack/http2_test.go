//go:build attack && linux

package attack

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"zotregistry.io/zot/internal/servers"
)

// Types and flags of frames: RFC 9113, 6.
const (
	frameData         = 0
	frameHeaders      = 1
	frameReset        = 3
	frameSettings     = 4
	framePing         = 6
	frameContinuation = 9

	flagEndStream  = 1
	flagEndHeaders = 4
)

// frame is a frame, as it is sent.
func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	head := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}

	return append(binary.BigEndian.AppendUint32(head, stream), payload...)
}

// block is a header block of fields that are in no table: RFC 7541, 6.2.2.
func block(pairs ...string) []byte {
	var b []byte
	for i := 0; i < len(pairs); i += 2 {
		b = append(b, 0, byte(len(pairs[i])))
		b = append(b, pairs[i]...)
		b = append(b, byte(len(pairs[i+1])))
		b = append(b, pairs[i+1]...)
	}

	return b
}

func request(method, path string) []byte {
	return block(":method", method, ":scheme", "https", ":authority", "x", ":path", path)
}

// floods are what is sent over one connection, until it is closed or the time is over.
var floods = map[string]func(send func(...[]byte) bool){
	"streams that are reset at once": func(send func(...[]byte) bool) {
		for id := uint32(1); send(frame(frameHeaders, flagEndStream|flagEndHeaders, id, request("GET", "/v2/")),
			frame(frameReset, 0, id, []byte{0, 0, 0, 8})); id += 2 {
		}
	},
	"streams that nobody ends": func(send func(...[]byte) bool) {
		for id := uint32(1); send(frame(frameHeaders, flagEndHeaders, id, request("PUT", "/v2/a/manifests/v1"))); id += 2 {
		}
	},
	"headers that do not end": func(send func(...[]byte) bool) {
		first := frame(frameHeaders, 0, 1, request("GET", "/v2/"))
		for more := frame(frameContinuation, 0, 1, block("a", "b")); send(first, more); first = nil {
		}
	},
	"empty headers that do not end": func(send func(...[]byte) bool) {
		first := frame(frameHeaders, 0, 1, nil)
		for more := frame(frameContinuation, 0, 1, nil); send(first, more); first = nil {
		}
	},
	"settings": func(send func(...[]byte) bool) {
		for settings := frame(frameSettings, 0, 0, []byte{0, 4, 0, 0, 255, 255}); send(settings); {
		}
	},
	"pings": func(send func(...[]byte) bool) {
		for ping := frame(framePing, 0, 0, make([]byte, 8)); send(ping); {
		}
	},
	"empty data": func(send func(...[]byte) bool) {
		first := frame(frameHeaders, flagEndHeaders, 1, request("PUT", "/v2/a/manifests/v1"))
		for data := frame(frameData, 0, 1, nil); send(first, data); first = nil {
		}
	},
}

// TestHTTP2Floods: floods of frames, each over 16 connections whose answers nobody reads, hold no
// other client up, and cost little memory.
func TestHTTP2Floods(t *testing.T) {
	t.Parallel()

	ca := servers.NewCA(t)
	cert, key := ca.Issue(t)

	v := start(t, map[string]any{"tls": map[string]any{"cert": cert, "key": key}})
	client, config := trusting(t, ca)

	for name, flood := range floods {
		t.Run(name, func(t *testing.T) {
			closed := make(chan bool, 16)
			done := make(chan struct{})

			go func() {
				defer close(done)

				parallel(cap(closed), func(int) { closed <- overflow(t, v.Addr, config, flood) })
			}()

			slowest, answered := time.Duration(0), 0

			for running := true; running; {
				select {
				case <-done:
					running = false
				default:
				}

				begun := time.Now()

				resp, err := client.Get("https://" + v.Addr + "/v2/") //nolint:noctx // the client has a bound
				if err != nil {
					t.Fatalf("another client: %v", err)
				}

				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				slowest = max(slowest, time.Since(begun))
				answered++
			}

			n := 0

			for range cap(closed) {
				if <-closed {
					n++
				}
			}

			t.Logf("%d of %d connections were closed; another client was answered %d times, after %s at most",
				n, cap(closed), answered, slowest.Round(time.Millisecond))
		})
	}

	v.memoryIsBounded()
}

// trusting is a client, and what a connection for HTTP/2 needs.
func trusting(t *testing.T, ca *servers.CA) (*http.Client, *tls.Config) {
	t.Helper()

	pem, err := os.ReadFile(ca.Path)
	if err != nil {
		t.Fatal(err)
	}

	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)

	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)

	return &http.Client{Transport: transport, Timeout: patience}, &tls.Config{RootCAs: pool, ServerName: "127.0.0.1", NextProtos: []string{"h2"}}
}

// overflow sends a flood for two seconds, and says whether the server closed the connection.
func overflow(t *testing.T, addr string, config *tls.Config, flood func(send func(...[]byte) bool)) bool {
	t.Helper()

	raw, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Errorf("dial: %v", err)

		return false
	}

	conn := tls.Client(raw, config)
	defer func() { _ = conn.Close() }() // the flood has mostly broken it

	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		t.Error(err)
	}

	begin := append([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(frameSettings, 0, 0, nil)...)
	if _, err = conn.Write(begin); err != nil {
		t.Errorf("begin: %v", err)
	}

	flood(func(frames ...[]byte) bool {
		for _, f := range frames {
			if err == nil && f != nil {
				_, err = conn.Write(f)
			}
		}

		return err == nil
	})

	timeout, ok := err.(net.Error) //nolint:errorlint // of tls.Conn, as it is

	return !ok || !timeout.Timeout()
}
