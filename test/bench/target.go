package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sys/unix"

	"zotregistry.io/zot/internal/daemon"
	"zotregistry.io/zot/internal/servers"
	"zotregistry.io/zot/internal/wire"
)

// target is a registry that can be started.
type target struct {
	name string
	// args writes a configuration into dir and returns the command line. The
	// registry keeps its data below dir.
	args func(dir, addr string) ([]string, error)
	// login is user:password, which it asks clients for; empty = it does not.
	login string
}

// zotTarget is this registry on its defaults, which sync to disk before a 201, but for
// some keys of storage.
func zotTarget(name, binary string, storage map[string]any) target {
	return target{name: name, args: func(dir, addr string) ([]string, error) {
		return serveZot(binary, dir, addr, storage, nil)
	}}
}

// loginTarget is this registry on its defaults, where clients send a password whose hash, by
// bcrypt, is in a file.
func loginTarget(binary string) target {
	const user, password = "alice", "correct horse"

	return target{name: loginName, login: user + ":" + password, args: func(dir, addr string) ([]string, error) {
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
		if err != nil {
			return nil, err
		}

		file := filepath.Join(dir, "htpasswd")
		if err := os.WriteFile(file, fmt.Appendf(nil, "%s:%s\n", user, hash), 0o600); err != nil {
			return nil, err
		}

		return serveZot(binary, dir, addr, nil, map[string]any{"htpasswd": map[string]any{"path": file}})
	}}
}

// serveZot writes a configuration with some keys of storage and of http.auth, and returns the
// command line.
func serveZot(binary, dir, addr string, storage, auth map[string]any) ([]string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}

	store := map[string]any{"rootDirectory": filepath.Join(dir, "data")}
	maps.Copy(store, storage)

	config, err := json.Marshal(map[string]any{
		"storage": store,
		"http":    map[string]any{"address": host, "port": port, "auth": auth},
	})
	if err != nil {
		return nil, err
	}

	path := filepath.Join(dir, "config.json")

	return []string{binary, "serve", path}, os.WriteFile(path, config, 0o600)
}

// distributionTarget is distribution on a directory, as it comes.
func distributionTarget(binary string) target {
	return target{name: distributionName, args: func(dir, addr string) ([]string, error) {
		return servers.Distribution(binary, dir, addr, servers.DistributionOnDisk(dir))
	}}
}

// bareTarget is a bare server: this program, in a process of its own.
func bareTarget(name string, sync bool) target {
	return target{name: name, args: func(dir, addr string) ([]string, error) {
		self, err := os.Executable()

		return []string{self, "-bare", addr, "-bare-dir", dir, fmt.Sprintf("-bare-sync=%t", sync)}, err
	}}
}

// subject is a target that runs. Close it.
type subject struct {
	daemon *daemon.Daemon
	client *wire.Client
	dir    string
	argv   []string
}

// open starts t on an empty directory. What the one before has left to be written or
// freed is settled first, or this one's flushes would pay for it.
func (t target) open(ctx context.Context) (_ *subject, err error) {
	unix.Sync()

	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}

	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()

	addr, err := daemon.FreeAddr()
	if err != nil {
		return nil, err
	}

	argv, err := t.args(dir, addr)
	if err != nil {
		return nil, err
	}

	d, err := daemon.Open(ctx, argv, addr, filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}

	return &subject{daemon: d, client: wire.New(addr), dir: dir, argv: argv}, nil
}

// reopen starts a registry again on what it had left.
func (s *subject) reopen(ctx context.Context) (err error) {
	s.client.Close()
	s.daemon, err = daemon.Open(ctx, s.argv, s.daemon.Addr, s.daemon.LogPath)

	return err
}

func (s *subject) close() error {
	s.client.Close()

	return errors.Join(s.daemon.Kill(), os.RemoveAll(s.dir))
}

// retired are the directories of registries that are measured no more.
var retired []string

// retire stops the registry, and frees its bytes, but not its files: for minutes ext4 makes a
// new file the slower the more of them were removed before, and the next registry would pay.
func (s *subject) retire() error {
	s.client.Close()

	if err := s.daemon.Kill(); err != nil {
		return err
	}

	retired = append(retired, s.dir)

	const small = 64 << 10

	return filepath.WalkDir(s.dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}

		if info, err := entry.Info(); err != nil || info.Size() <= small {
			return err
		}

		return os.Truncate(path, 0)
	})
}

func removeRetired() error {
	var failed []error
	for _, dir := range retired {
		failed = append(failed, os.RemoveAll(dir))
	}

	return errors.Join(failed...)
}
