package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/api/config"
)

// pipes is a listener whose connections are in memory, so that time can be faked.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { close(p.done); return nil }

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() net.Conn {
	here, there := net.Pipe()
	p.conns <- there

	return here
}

// bubble serves registry in fake time and calls use with a connection to it. Clients
// may stall for a window of 10 seconds, in which 10 KiB must move.
func bubble(t *testing.T, registry Registry, use func(t *testing.T, conn net.Conn)) {
	t.Helper()

	synctest.Test(t, func(t *testing.T) {
		cfg := config.HTTP{ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second}

		server, err := New(cfg, registry, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}

		listener := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		server.listener = listener
		served := make(chan error, 1)

		go func() { served <- server.Serve() }()

		conn := listener.dial()
		use(t, conn)

		_ = conn.Close()
		server.listener = nil // http.Server closes it, and a second time is a panic

		if err := errors.Join(server.Shutdown(context.Background()), <-served); err != nil {
			t.Error(err)
		}
	})
}

// taking reads a body as the engine does, and reports how it ended.
func taking(result chan error, each func(n int64)) broken {
	return broken{take: func(_ context.Context, body io.Reader) error {
		buf := make([]byte, 512)

		for total := int64(0); ; {
			n, err := body.Read(buf)
			total += int64(n)

			if n > 0 && each != nil {
				each(total)
			}

			if errors.Is(err, io.EOF) {
				result <- nil

				return nil
			}

			if err != nil {
				result <- err

				return err
			}
		}
	}}
}

const patchHead = "PATCH /v2/a/blobs/uploads/x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"

// status reads the next answer without its body.
func status(t *testing.T, conn net.Conn) int {
	t.Helper()

	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("read answer: %v", err)
	}

	return resp.StatusCode
}

func write(t *testing.T, conn net.Conn, s string) {
	t.Helper()

	if _, err := io.WriteString(conn, s); err != nil {
		t.Errorf("write: %v", err)
	}
}

func TestUploadThatStallsIsDropped(t *testing.T) {
	result := make(chan error, 1)

	bubble(t, taking(result, nil), func(t *testing.T, conn net.Conn) {
		start := time.Now()
		write(t, conn, fmt.Sprintf(patchHead, 1<<20)+"some bytes, and then silence")
		equal(t, status(t, conn), http.StatusRequestTimeout, "status")
		equal(t, time.Since(start), 10*time.Second, "time")
		equal(t, errors.Is(<-result, os.ErrDeadlineExceeded), true, "the engine sees why")
	})
}

// A client that sends a byte now and then holds a connection as long as one that
// sends none.
func TestUploadThatDripsIsDropped(t *testing.T) {
	result := make(chan error, 1)

	bubble(t, taking(result, nil), func(t *testing.T, conn net.Conn) {
		start := time.Now()

		write(t, conn, fmt.Sprintf(patchHead, 1<<20))

		go func() {
			for {
				if _, err := conn.Write([]byte{'x'}); err != nil {
					return
				}

				<-time.After(time.Second)
			}
		}()

		equal(t, status(t, conn), http.StatusRequestTimeout, "status")
		equal(t, time.Since(start), 10*time.Second, "time")
		_ = conn.Close()
		equal(t, errors.Is(<-result, os.ErrDeadlineExceeded), true, "the engine sees why")
		<-time.After(time.Second) // for the drip to end
	})
}

func TestUploadThatIsSlowIsKept(t *testing.T) {
	result := make(chan error, 1)

	bubble(t, taking(result, nil), func(t *testing.T, conn net.Conn) {
		write(t, conn, fmt.Sprintf(patchHead, 500<<10))

		for range 100 { // 5 KiB in 4 seconds, for 400 seconds
			<-time.After(4 * time.Second)
			write(t, conn, strings.Repeat("x", 5<<10))
		}

		equal(t, status(t, conn), http.StatusAccepted, "status")
		equal(t, <-result, nil, "error")
	})
}

// Waiting for a buffer or a disk is not the client's fault, nor is it its leaving.
func TestEngineThatIsSlowIsNoStall(t *testing.T) {
	result := make(chan error, 1)
	wait := func(total int64) {
		if total <= 1024 || total == 4096 { // before there is a quota, and at the end
			<-time.After(time.Hour)
		}
	}

	registry := taking(result, wait)
	inner := registry.take
	registry.take = func(ctx context.Context, body io.Reader) error {
		err := inner(ctx, body)
		<-time.After(time.Hour) // the body was read whole

		return errors.Join(err, ctx.Err())
	}

	bubble(t, registry, func(t *testing.T, conn net.Conn) {
		write(t, conn, fmt.Sprintf(patchHead, 4096)+strings.Repeat("x", 4096))
		equal(t, status(t, conn), http.StatusAccepted, "status")
		equal(t, <-result, nil, "error")

		write(t, conn, fmt.Sprintf(patchHead, 1)+"x")
		equal(t, status(t, conn), http.StatusAccepted, "status of the next request on the connection")
	})
}

// A body that no handler reads does not hold the connection.
func TestUnwantedBodyIsDropped(t *testing.T) {
	bubble(t, broken{}, func(t *testing.T, conn net.Conn) {
		start := time.Now()
		write(t, conn, "PUT /v2/a/b HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
		equal(t, status(t, conn), http.StatusNotFound, "status")

		_, err := conn.Read(make([]byte, 1))
		equal(t, errors.Is(err, io.EOF), true, "the connection is closed")
		equal(t, time.Since(start) <= 2*leftover, true, "time")
	})
}

const getHead = "GET /v2/a/blobs/sha256:a6105c0a611b41b08f1209506350279e0000000000000000000000000000000a HTTP/1.1\r\nHost: x\r\n\r\n"

// zeros is a blob of any length.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestDownloadThatStallsIsDropped(t *testing.T) {
	bubble(t, broken{open: stored(zeros{}, 1<<30)}, func(t *testing.T, conn net.Conn) {
		write(t, conn, getHead)

		_, err := io.CopyN(io.Discard, conn, 50<<10)
		equal(t, err, nil, "first bytes")

		<-time.After(11 * time.Second)

		n, err := io.Copy(io.Discard, conn)
		equal(t, err, nil, "the connection is closed")
		equal(t, n < 64<<10, true, fmt.Sprint(n, " bytes came after the stall"))
	})
}

func TestDownloadThatIsSlowIsKept(t *testing.T) {
	const size = 500 << 10

	bubble(t, broken{open: stored(zeros{}, size)}, func(t *testing.T, conn net.Conn) {
		write(t, conn, getHead)

		resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), nil)
		if err != nil {
			t.Fatal(err)
		}

		for range 100 { // 5 KiB in 4 seconds
			<-time.After(4 * time.Second)

			if _, err := io.CopyN(io.Discard, resp.Body, size/100); err != nil {
				t.Fatal(err)
			}
		}
	})
}
