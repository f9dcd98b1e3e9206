// Package daemon runs a registry's binary as a process of its own, for tests and
// measurements that look at it from the outside only.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// startLimit bounds the wait for the first connection. It is longer than the
// default of storage.lockWait (10s), for a root whose last process just left.
const startLimit = 30 * time.Second

// stopLimit bounds the wait for a process to leave after SIGTERM.
const stopLimit = 60 * time.Second

// Daemon is a running process. One goroutine at a time may end it.
type Daemon struct {
	// Addr is host:port, or the path of a Unix socket, where it listens.
	Addr string
	// LogPath is the file that collects its standard output and error.
	LogPath string

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has left
	err  error         // what Wait returned; read it after done
}

// Open starts argv and waits until addr accepts connections. The output is
// appended to the file logPath. Stop or Kill ends it.
func Open(ctx context.Context, argv []string, addr, logPath string) (*Daemon, error) {
	out, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	// The child has its own copy of the descriptor.
	defer out.Close()

	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = out, out

	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}

	d := &Daemon{Addr: addr, LogPath: logPath, cmd: cmd, done: make(chan struct{})}
	go d.reap()

	if err := d.awaitListener(ctx); err != nil {
		return nil, errors.Join(err, d.Kill())
	}

	return d, nil
}

func (d *Daemon) reap() {
	d.err = d.cmd.Wait()
	close(d.done)
}

// awaitListener dials until a connection succeeds, the process leaves or the time
// is over.
func (d *Daemon) awaitListener(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()

	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()

	for {
		if conn, err := net.Dial(network(d.Addr), d.Addr); err == nil {
			return conn.Close()
		}

		select {
		case <-d.done:
			return fmt.Errorf("the process left before it listened on %s: %w", d.Addr, d.err)
		case <-ctx.Done():
			return fmt.Errorf("nothing listens on %s: %w", d.Addr, ctx.Err())
		case <-tick.C:
		}
	}
}

func network(addr string) string {
	if filepath.IsAbs(addr) {
		return "unix"
	}

	return "tcp"
}

// Done is closed when the process has left.
func (d *Daemon) Done() <-chan struct{} { return d.done }

// PID is the process's id, for reading its memory use.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// Kill ends the process with SIGKILL and waits for it. It is no error if the
// process has left already.
func (d *Daemon) Kill() error {
	err := d.cmd.Process.Kill()
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}

	<-d.done

	return nil
}

// Stop asks the process to leave with SIGTERM and waits for it. An exit status
// other than 0 is an error.
func (d *Daemon) Stop() error {
	err := d.cmd.Process.Signal(syscall.SIGTERM)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}

	select {
	case <-d.done:
		return d.err
	case <-time.After(stopLimit):
		return errors.Join(errors.New("still there a minute after SIGTERM"), d.Kill())
	}
}

// Pause has the kernel hold the process: it still accepts connections, and does not
// answer. Kill ends a paused process, too.
func (d *Daemon) Pause() error { return d.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (d *Daemon) Resume() error { return d.cmd.Process.Signal(syscall.SIGCONT) }

// FreeAddr returns an address on the loopback interface that was free a moment ago.
func FreeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}

	return l.Addr().String(), l.Close()
}
