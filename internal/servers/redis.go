// Package servers runs the real servers that tests of drivers need, each on a port of
// its own and gone when its test is over. A program that is missing fails the test.
package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"zotregistry.io/zot/internal/daemon"
)

// Server is a server program under a test's control. One goroutine at a time may
// control it.
type Server struct {
	Addr string // host:port on the loopback interface

	tb   testing.TB
	argv []string
	log  string
	proc *daemon.Daemon // nil while it is stopped
}

// start runs argv, which listens on addr. The server is killed when the test is over.
func start(tb testing.TB, addr string, argv ...string) *Server {
	tb.Helper()

	s := &Server{Addr: addr, tb: tb, argv: argv, log: filepath.Join(tb.TempDir(), "log")}
	s.Start()
	tb.Cleanup(s.Stop)

	return s
}

// Start starts the server again after a Stop, on the same port.
func (s *Server) Start() {
	s.tb.Helper()

	proc, err := daemon.Open(context.WithoutCancel(s.tb.Context()), s.argv, s.Addr, s.log)
	if err != nil {
		log, _ := os.ReadFile(s.log)
		s.tb.Fatalf("%v\n%s", err, log)
	}

	s.proc = proc
}

// Stop kills the server, also one that is paused. A server that is stopped stays so.
func (s *Server) Stop() {
	s.tb.Helper()

	if s.proc == nil {
		return
	}

	must(s.tb, s.proc.Kill())
	s.proc = nil
}

// Pause has the kernel hold the server: connections are taken, and nothing answers.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(signal syscall.Signal) {
	s.tb.Helper()
	must(s.tb, syscall.Kill(s.proc.PID(), signal))
}

// Redis is a redis-server, or a sentinel.
type Redis struct {
	*Server

	cli []string // arguments with which redis-cli reaches it
}

// StartRedis starts a redis-server that keeps nothing on disk. args are options of its
// configuration, as "--requirepass", "secret".
func StartRedis(tb testing.TB, args ...string) *Redis {
	tb.Helper()

	addr := freeAddr(tb)

	return startRedis(tb, addr, append([]string{"--port", port(tb, addr)}, args...), "-h", "127.0.0.1", "-p", port(tb, addr))
}

// StartRedisTLS starts a redis-server that speaks TLS only. Its certificate is made by
// ca, for 127.0.0.1.
func StartRedisTLS(tb testing.TB, ca *CA) *Redis {
	tb.Helper()

	addr := freeAddr(tb)
	cert, key := ca.Issue(tb)

	return startRedis(tb, addr, []string{
		"--port", "0", "--tls-port", port(tb, addr), "--tls-auth-clients", "no",
		"--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", ca.Path,
	}, "-h", "127.0.0.1", "-p", port(tb, addr), "--tls", "--cacert", ca.Path)
}

func startRedis(tb testing.TB, addr string, args []string, cli ...string) *Redis {
	tb.Helper()

	argv := append([]string{
		program(tb, "redis-server", "redis-server"), "--bind", "127.0.0.1", "--dir", tb.TempDir(),
		"--save", "", "--daemonize", "no",
	}, args...)

	r := &Redis{Server: start(tb, addr, argv...), cli: cli}
	r.Do("PING")

	return r
}

// Do has redis-cli send a command, and returns the answer.
func (r *Redis) Do(args ...string) string {
	r.tb.Helper()

	answer, err := r.try(args...)
	if err != nil {
		r.tb.Fatal(err)
	}

	return answer
}

func (r *Redis) try(args ...string) (string, error) {
	cmd := exec.Command(program(r.tb, "redis-cli", "redis-tools"), append(r.cli[:len(r.cli):len(r.cli)], args...)...)

	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("redis-cli %s: %w: %s", strings.Join(args, " "), err, out)
	}

	return strings.TrimSpace(string(out)), nil
}

// FlushAll has the server forget everything.
func (r *Redis) FlushAll() {
	r.tb.Helper()
	r.Do("FLUSHALL")
}

// StartRedisCluster starts three nodes and makes a cluster of them, each with a third
// of the slots.
func StartRedisCluster(tb testing.TB) []*Redis {
	tb.Helper()

	nodes := make([]*Redis, 3)
	create := []string{"--cluster", "create"}

	for i := range nodes {
		nodes[i] = StartRedis(tb, "--cluster-enabled", "yes", "--cluster-port", port(tb, freeAddr(tb)))
		create = append(create, nodes[i].Addr)
	}

	nodes[0].Do(append(create, "--cluster-yes")...)

	for _, node := range nodes {
		await(tb, "a node sees the whole cluster", func() bool {
			return strings.Contains(node.Do("CLUSTER", "INFO"), "cluster_state:ok")
		})
	}

	return nodes
}

// MasterName is the name of the master that StartSentinel watches.
const MasterName = "mymaster"

// StartSentinel starts a master, a replica of it, and a sentinel that makes the replica
// the master half a second after the master has gone.
func StartSentinel(tb testing.TB) (sentinel, master, replica *Redis) {
	tb.Helper()

	master = StartRedis(tb)
	replica = StartRedis(tb, "--replicaof", "127.0.0.1 "+port(tb, master.Addr))

	addr := freeAddr(tb)
	config := filepath.Join(tb.TempDir(), "sentinel.conf")
	must(tb, os.WriteFile(config, fmt.Appendf(nil, `
port %s
bind 127.0.0.1
dir %s
sentinel monitor %[3]s 127.0.0.1 %[4]s 1
sentinel down-after-milliseconds %[3]s 500
sentinel failover-timeout %[3]s 2000
`, port(tb, addr), filepath.Dir(config), MasterName, port(tb, master.Addr)), 0o600))

	sentinel = &Redis{
		Server: start(tb, addr, program(tb, "redis-server", "redis-server"), config, "--sentinel"),
		cli:    []string{"-h", "127.0.0.1", "-p", port(tb, addr)},
	}

	await(tb, "the sentinel sees the replica", func() bool {
		return strings.Contains(sentinel.Do("SENTINEL", "REPLICAS", MasterName), "master-link-status\nok")
	})

	return sentinel, master, replica
}

// await asks until the answer is yes.
func await(tb testing.TB, what string, ask func() bool) {
	tb.Helper()

	const limit = 30 * time.Second

	late := time.After(limit)
	tick := time.NewTicker(50 * time.Millisecond)

	defer tick.Stop()

	for !ask() {
		select {
		case <-tick.C:
		case <-late:
			tb.Fatalf("%s: not within %s", what, limit)
		}
	}
}

// program finds a program of a Debian package.
func program(tb testing.TB, name, pkg string) string {
	tb.Helper()

	path, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrNotFound) {
		tb.Fatalf("%s is missing: install the Debian package %s, or run make remote", name, pkg)
	}

	must(tb, err)

	return path
}

func freeAddr(tb testing.TB) string {
	tb.Helper()

	addr, err := daemon.FreeAddr()
	must(tb, err)

	return addr
}

func port(tb testing.TB, addr string) string {
	tb.Helper()

	_, port, err := net.SplitHostPort(addr)
	must(tb, err)

	if _, err := strconv.Atoi(port); err != nil {
		tb.Fatal(err)
	}

	return port
}

func must(tb testing.TB, err error) {
	tb.Helper()

	if err != nil {
		tb.Fatal(err)
	}
}
