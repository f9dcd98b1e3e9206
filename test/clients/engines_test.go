//go:build clients

package clients

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/internal/daemon"
	"zotregistry.io/zot/internal/wire"
)

// engine is a client that unpacks images into a store of its own. open gives it an
// empty one and returns the command line that every call starts with.
type engine struct {
	name    string
	open    func(t *testing.T, sh *shell) []string
	build   []string // arguments of a build, before the context directory
	noTLS   []string // arguments of push and pull where there is no TLS
	diffIDs []string // arguments that print an image's layers, decompressed, in one line
}

var engines = []engine{
	{
		name:    "docker",
		open:    openDocker,
		build:   []string{"build", "-q"},
		diffIDs: []string{"image", "inspect", "--format={{range .RootFS.Layers}}{{.}} {{end}}"},
	},
	{
		name:    "podman",
		open:    openPodman,
		build:   []string{"build", "-q", "--isolation=chroot", "--layers"},
		noTLS:   []string{"--tls-verify=false"},
		diffIDs: []string{"image", "inspect", "--format={{range .RootFS.Layers}}{{.}} {{end}}"},
	},
	{
		name:    "buildah",
		open:    openBuildah,
		build:   []string{"build", "-q", "--isolation=chroot", "--layers"},
		noTLS:   []string{"--tls-verify=false"},
		diffIDs: []string{"inspect", "--type=image", "--format={{range .OCIv1.RootFS.DiffIDs}}{{.}} {{end}}"},
	},
}

// openDocker starts a daemon that touches nothing of the machine's own: no bridge, no
// packet filter, and vfs, which needs no mounts.
func openDocker(t *testing.T, sh *shell) []string {
	t.Helper()

	if os.Geteuid() != 0 {
		t.Fatal("dockerd needs root: run make clients as root")
	}

	dir := shortTempDir(t)
	socket := filepath.Join(dir, "s")

	// The daemon starts containerd, which it finds in PATH.
	t.Setenv("PATH", strings.TrimPrefix(sh.env[0], "PATH="))

	d, err := daemon.Open(t.Context(), []string{
		sh.find(t, "dockerd"),
		"--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs",
		"--data-root=" + filepath.Join(dir, "data"), "--exec-root=" + filepath.Join(dir, "exec"),
		"--pidfile=" + filepath.Join(dir, "pid"), "--host=unix://" + socket,
	}, socket, filepath.Join(dir, "log"))
	if err != nil {
		log, readErr := os.ReadFile(filepath.Join(dir, "log"))
		t.Fatalf("dockerd: %v\n%s%v", err, log, readErr)
	}

	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Errorf("stop dockerd: %v", err)
		}
	})

	return []string{"docker", "--host=unix://" + socket}
}

func openPodman(t *testing.T, _ *shell) []string {
	t.Helper()

	dir := shortTempDir(t)

	return []string{
		"podman", "--storage-driver=vfs", "--root=" + filepath.Join(dir, "root"),
		"--runroot=" + filepath.Join(dir, "run"), "--cgroup-manager=cgroupfs", "--events-backend=none",
	}
}

func openBuildah(t *testing.T, _ *shell) []string {
	t.Helper()

	dir := shortTempDir(t)

	return []string{
		"buildah", "--storage-driver=vfs", "--root=" + filepath.Join(dir, "root"),
		"--runroot=" + filepath.Join(dir, "run"),
	}
}

// call runs the engine with a store that open returned.
func call(t *testing.T, sh *shell, store []string, args ...[]string) string {
	t.Helper()

	return sh.run(t, join(store, join(args...))...)
}

// join returns one command line, which shares no memory with its parts.
func join(parts ...[]string) []string {
	var argv []string
	for _, p := range parts {
		argv = append(argv, p...)
	}

	return argv
}

// TestEngines builds an image from nothing with each engine, pushes it, and pulls it
// into an empty store.
func TestEngines(t *testing.T) {
	onEachStore(t, func(t *testing.T, addr string, c *wire.Client) {
		for _, e := range engines {
			t.Run(e.name, func(t *testing.T) {
				sh := newShell(t)
				ref := addr + "/engines/" + e.name + ":" + tag

				full := e.open(t, sh)
				call(t, sh, full, e.build, []string{"-t", ref, buildContext(t)})
				call(t, sh, full, []string{"push"}, e.noTLS, []string{ref})

				empty := e.open(t, sh)
				call(t, sh, empty, []string{"pull"}, e.noTLS, []string{ref})

				_, ids := servedDiffIDs(t, c, "engines/"+e.name, tag)
				verifySame(t, ids, e.layers(t, sh, full, ref))
				verifySame(t, ids, e.layers(t, sh, empty, ref))
			})
		}
	})
}

func (e *engine) layers(t *testing.T, sh *shell, store []string, ref string) []digest.Digest {
	t.Helper()

	var ids []digest.Digest
	for _, id := range strings.Fields(call(t, sh, store, e.diffIDs, []string{ref})) {
		ids = append(ids, digest.Digest(id))
	}

	return ids
}

func buildContext(t *testing.T) string {
	t.Helper()

	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM scratch\nCOPY one /\nCOPY two /\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "one"), archive(t, 1, "one"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "two"), archive(t, 2, "two"), 0o644))

	return dir
}

// TestPlatforms pulls each platform of an index with each engine.
func TestPlatforms(t *testing.T) {
	addr, _ := serve(t)
	sh := newShell(t)
	l := newLayout(t, "amd64", "arm64")
	ref := addr + "/platforms/app:" + tag

	pushSkopeo(t, sh, addr, ref, l.dir)

	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			for n, arch := range []string{"amd64", "arm64"} {
				store := e.open(t, sh)
				call(t, sh, store, []string{"pull"}, e.noTLS, []string{"--platform=linux/" + arch, ref})
				verifySame(t, l.diffIDs(t, n), e.layers(t, sh, store, ref))
			}
		})
	}
}

// diffIDs returns the layers of the n-th image of the layout's index.
func (l *layout) diffIDs(t *testing.T, n int) []digest.Digest {
	t.Helper()

	var index node
	must(t, json.Unmarshal(verifyBytes(t, l.read, l.top.Digest), &index))

	var ids []digest.Digest

	for _, layer := range verifyTree(t, l.read, index.Manifests[n].Digest) {
		f, err := os.Open(l.path(layer))
		must(t, err)

		ids = append(ids, diffID(t, f))
		must(t, f.Close())
	}

	return ids
}

// TestBuildahIndex makes an index of two platforms with buildah and pushes it whole.
func TestBuildahIndex(t *testing.T) {
	addr, c := serve(t)
	sh := newShell(t)
	l := newLayout(t, "amd64", "arm64")
	from, ref := addr+"/buildah/from:"+tag, addr+"/buildah/index:"+tag

	pushSkopeo(t, sh, addr, from, l.dir)

	store := openBuildah(t, sh)
	call(t, sh, store, []string{"manifest", "create", "list"})
	call(t, sh, store, []string{"manifest", "add", "--tls-verify=false", "--all", "list", "docker://" + from})
	call(t, sh, store, []string{"manifest", "push", "--tls-verify=false", "--all", "list", "docker://" + ref})

	top, ids := servedDiffIDs(t, c, "buildah/index", tag)
	verifySame(t, append(l.diffIDs(t, 0), l.diffIDs(t, 1)...), ids)

	dir := filepath.Join(t.TempDir(), "pulled")
	pullSkopeo(t, sh, addr, ref, dir)
	verifyTree(t, (&layout{dir: dir}).read, top)
}
