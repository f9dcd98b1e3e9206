//go:build clients

package clients

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/internal/wire"
)

// copiers are the clients that carry an OCI layout to a registry and back unchanged.
var copiers = []struct {
	name       string
	push, pull func(t *testing.T, sh *shell, addr, ref, dir string)
}{
	{"skopeo", pushSkopeo, pullSkopeo},
	{"crane", pushCrane, pullCrane},
	{"regctl", pushRegctl, pullRegctl},
	{"oras", pushOras, pullOras},
}

func pushSkopeo(t *testing.T, sh *shell, _, ref, dir string) {
	t.Helper()
	sh.run(t, "skopeo", "copy", "--all", "--preserve-digests", "--dest-tls-verify=false", "oci:"+dir+":"+tag, "docker://"+ref)
}

func pullSkopeo(t *testing.T, sh *shell, _, ref, dir string) {
	t.Helper()
	sh.run(t, "skopeo", "copy", "--all", "--preserve-digests", "--src-tls-verify=false", "docker://"+ref, "oci:"+dir+":"+tag)
}

func pushCrane(t *testing.T, sh *shell, _, ref, dir string) {
	t.Helper()
	sh.run(t, "crane", "push", dir, ref)
}

func pullCrane(t *testing.T, sh *shell, _, ref, dir string) {
	t.Helper()
	sh.run(t, "crane", "pull", "--format=oci", ref, dir)
}

func pushRegctl(t *testing.T, sh *shell, addr, ref, dir string) {
	t.Helper()
	sh.run(t, "regctl", "--host", "reg="+addr+",tls=disabled", "image", "copy", "ocidir://"+dir+":"+tag, ref)
}

func pullRegctl(t *testing.T, sh *shell, addr, ref, dir string) {
	t.Helper()
	sh.run(t, "regctl", "--host", "reg="+addr+",tls=disabled", "image", "copy", ref, "ocidir://"+dir+":"+tag)
}

func pushOras(t *testing.T, sh *shell, _, ref, dir string) {
	t.Helper()
	sh.run(t, "oras", "cp", "--from-oci-layout", "--to-plain-http", dir+":"+tag, ref)
}

func pullOras(t *testing.T, sh *shell, _, ref, dir string) {
	t.Helper()
	sh.run(t, "oras", "cp", "--from-plain-http", "--to-oci-layout", ref, dir+":"+tag)
}

// TestCopiers pushes an image, and an index of two platforms, with each client, and
// pulls it with each into an empty directory.
func TestCopiers(t *testing.T) {
	layouts := map[string]*layout{
		"image": newLayout(t, "amd64"),
		"index": newLayout(t, "amd64", "arm64"),
	}

	onEachStore(t, func(t *testing.T, addr string, c *wire.Client) {
		for _, pusher := range copiers {
			t.Run(pusher.name, func(t *testing.T) {
				sh := newShell(t)

				for kind, l := range layouts {
					repo := "copied/" + pusher.name + "/" + kind
					pusher.push(t, sh, addr, addr+"/"+repo+":"+tag, l.dir)
					verifyTree(t, served(t, c, repo), l.top.Digest)
					pullWithAll(t, sh, addr, addr+"/"+repo+":"+tag, l)
				}
			})
		}
	})
}

func pullWithAll(t *testing.T, sh *shell, addr, ref string, l *layout) {
	t.Helper()

	for _, puller := range copiers {
		dir := filepath.Join(t.TempDir(), puller.name)
		puller.pull(t, sh, addr, ref, dir)
		verifyPulled(t, l, dir)
	}
}

// TestOrasArtifacts pushes and pulls files, attaches one to another and finds it again.
func TestOrasArtifacts(t *testing.T) {
	addr, _ := serve(t)
	sh := newShell(t)
	ref := addr + "/oras/artifact:" + tag
	dir := t.TempDir()

	must(t, os.WriteFile(filepath.Join(dir, "model.bin"), archive(t, 7, "model"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "sbom.json"), []byte(`{"sbom": true}`), 0o600))
	t.Chdir(dir) // oras takes relative paths only

	sh.run(t, "oras", "push", "--plain-http", "--artifact-type=application/vnd.test.model", ref, "model.bin:application/octet-stream")
	sh.run(t, "oras", "attach", "--plain-http", "--artifact-type=application/vnd.test.sbom", ref, "sbom.json:application/json")

	sh.run(t, "oras", "pull", "--plain-http", "-o", "pulled", ref)
	verifySameFile(t, "model.bin", "pulled/model.bin")

	sbom := discoverOne(t, sh, ref, "application/vnd.test.sbom")
	sh.run(t, "oras", "pull", "--plain-http", "-o", "pulled", addr+"/oras/artifact@"+sbom.String())
	verifySameFile(t, "sbom.json", "pulled/sbom.json")
}

// discoverOne returns the only referrer of a type.
func discoverOne(t *testing.T, sh *shell, ref, artifactType string) digest.Digest {
	t.Helper()

	out := sh.run(t, "oras", "discover", "--plain-http", "--format=json", "--artifact-type="+artifactType, ref)

	var found struct {
		Referrers []struct{ Digest digest.Digest }
		Manifests []struct{ Digest digest.Digest }
	}
	must(t, json.Unmarshal([]byte(out), &found))

	all := slices.Concat(found.Referrers, found.Manifests)
	if len(all) != 1 {
		t.Fatalf("oras discover: want one referrer:\n%s", out)
	}

	return all[0].Digest
}

func verifySameFile(t *testing.T, a, b string) {
	t.Helper()

	if fileDigest(t, a) != fileDigest(t, b) {
		t.Errorf("%s and %s differ", a, b)
	}
}

func fileDigest(t *testing.T, path string) digest.Digest {
	t.Helper()

	f, err := os.Open(path)
	must(t, err)
	defer f.Close()

	dgst, err := digest.FromReader(f)
	must(t, err)

	return dgst
}
