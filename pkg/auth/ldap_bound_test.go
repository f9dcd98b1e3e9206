package auth

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"testing"

	"zotregistry.io/zot/pkg/api/config"
)

// TestLDAPBomb: a directory that announces 2 GiB is one that cannot be asked, and gets no memory.
func TestLDAPBomb(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, listener, err)

	defer func() { must(t, listener, listener.Close()) }()

	// A message of nearly 2 GiB, of which 64 MiB come.
	bomb := append([]byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 0x04, 0x84, 0x7f, 0xff, 0xff, 0xf0}, make([]byte, 64<<20)...)

	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}

			go discard(conn)

			_, _ = conn.Write(bomb) // the client hangs up, or not
		}
	}()

	directory, err := openLDAP(config.LDAP{
		Address: "127.0.0.1", Port: listener.Addr().(*net.TCPAddr).Port, Insecure: true, BaseDN: "dc=x", UserAttribute: "uid",
	})
	must(t, directory, err)

	defer func() { must(t, directory, directory.Close()) }()

	var before, after runtime.MemStats

	runtime.ReadMemStats(&before)
	_, err = directory.check(t.Context(), login{user: "ann", password: "secret", allowed: func() error { return nil }})
	runtime.ReadMemStats(&after)

	equal(t, errors.Is(err, ErrUnavailable), true, fmt.Sprint(err))

	if took := after.TotalAlloc - before.TotalAlloc; took > maxLDAPMessage {
		t.Errorf("%d bytes were allocated", took)
	}
}
