//go:build attack && linux

package attack

import (
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// idle is how many connections are held open.
const idle = 10_000

// TestIdleConnections: others are served as fast as before beside 10,000 connections over which
// nothing comes, each costs little memory, and nothing is left of them afterwards.
func TestIdleConnections(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < idle+1000 {
		t.Fatalf("%d files may be open, %d are needed: ulimit -n (%v)", limit.Cur, idle+1000, err)
	}

	v := start(t, nil)
	before := v.rate(2 * time.Second)
	files, goroutines, memory := v.files(), v.goroutines(), v.memory("VmRSS")

	conns := make([]net.Conn, idle)

	parallel(50, func(worker int) {
		for i := worker; i < idle; i += 50 {
			conn, err := net.DialTimeout("tcp", v.Addr, time.Minute) //nolint:noctx // has a bound of its own
			if err != nil {
				t.Errorf("connection %d: %v", i, err)

				return
			}

			conns[i] = conn

			if i%2 == 0 { // half of them have never sent anything, the others wait with a request
				continue
			}

			if _, err := io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Errorf("connection %d: %v", i, err)
			}

			if _, err := io.ReadFull(conn, make([]byte, 15)); err != nil {
				t.Errorf("connection %d: %v", i, err)
			}
		}
	})

	during := v.rate(2 * time.Second)
	each := (v.memory("VmRSS") - memory) / idle

	for _, conn := range conns {
		if conn == nil {
			continue
		}

		v.must(conn.(*net.TCPConn).SetLinger(0)) //nolint:forcetypeassert // of a dial for tcp
		v.must(conn.Close())
	}

	v.settles(files, goroutines)

	// What else the machine does is in both: the better of before and after would be unfair.
	after := v.rate(2 * time.Second)
	t.Logf("images a second: %.0f before, %.0f beside %d connections, %.0f after; %d bytes each", before, during, idle, after, each)

	if during < 0.8*min(before, after) {
		t.Errorf("%.0f images a second beside idle connections, %.0f without", during, min(before, after))
	}

	if each > 32<<10 {
		t.Errorf("%d bytes for each connection", each)
	}
}

// TestSlowClients: 300 clients that send headers, or bodies, a byte at a time, and 100 that
// take a blob so, hold nobody up, and are dropped.
func TestSlowClients(t *testing.T) {
	t.Parallel()

	v := start(t, map[string]any{"readTimeout": "3s", "writeTimeout": "3s"})
	files, goroutines := v.files(), v.goroutines()
	begun := time.Now()

	v.served(func() {
		parallel(400, func(i int) {
			conn := v.dial()
			request := []string{
				"GET /v2/ HTTP/1.1\r\nHost: x\r\nA: ",
				"PUT /v2/a/manifests/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n\r\n",
				fmt.Sprintf("POST /v2/a/blobs/uploads/?digest=sha256:%064d HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n", i),
				"GET /v2/by/stander/manifests/v1 HTTP/1.1\r\nHost: x\r\n\r\n",
			}[i%4]

			if _, err := io.WriteString(conn, request); err != nil {
				t.Errorf("write: %v", err)

				return
			}

			drip(t, conn)
		})
	})

	t.Logf("all were dropped within %s", time.Since(begun).Round(time.Second))
	v.settles(files, goroutines)
	v.memoryIsBounded()
}

// drip sends a byte ten times a second until the other end has had enough.
func drip(t *testing.T, conn net.Conn) {
	t.Helper()

	const patience = 50 * time.Second

	gone := make(chan struct{})

	go func() {
		defer close(gone)

		_, _ = io.Copy(io.Discard, conn)
	}()

	ticks := time.NewTicker(100 * time.Millisecond)
	defer ticks.Stop()

	for end := time.After(patience); ; {
		select {
		case <-gone:
			return
		case <-end:
			t.Errorf("a slow client is there after %s", patience)
			_ = conn.Close()
			<-gone

			return
		case <-ticks.C:
			_, _ = conn.Write([]byte("a"))
		}
	}
}
