//go:build clients

package clients

import (
	"path/filepath"
	"testing"

	"zotregistry.io/zot/internal/daemon"
	"zotregistry.io/zot/internal/wire"
)

// TestRootIsALayout stops the server, and reads each tag from its root with skopeo.
func TestRootIsALayout(t *testing.T) {
	zot := &daemon.Zot{}
	d := zot.Start(t)
	sh := newShell(t)

	layouts := map[string]*layout{
		"image":       newLayout(t, "amd64"),
		"deep/er/one": newLayout(t, "arm64"),
		"index":       newLayout(t, "amd64", "arm64"),
	}
	for repo, l := range layouts {
		pushSkopeo(t, sh, d.Addr, d.Addr+"/"+repo+":"+tag, l.dir)
		pushSkopeo(t, sh, d.Addr, d.Addr+"/"+repo+":second", l.dir)
	}

	must(t, d.Stop())

	for repo, l := range layouts {
		for _, name := range []string{tag, "second"} {
			at := "oci:" + filepath.Join(zot.Root, repo) + ":" + name
			sh.run(t, "skopeo", "--override-arch="+l.arch(), "inspect", at)
			sh.run(t, "skopeo", "copy", "--all", "--preserve-digests", at, "oci:"+filepath.Join(t.TempDir(), "copy")+":"+name)
		}

		verifyPulled(t, l, filepath.Join(zot.Root, repo))
	}
}

// arch is what to ask of an image or index that may not have the machine's own.
func (l *layout) arch() string {
	if l.top.Platform != nil {
		return l.top.Platform.Architecture
	}

	return "arm64"
}

// TestRootFromSkopeo serves what skopeo wrote into the root, before the start and while
// the server runs, with no step between.
func TestRootFromSkopeo(t *testing.T) {
	zot := &daemon.Zot{Root: t.TempDir()}
	sh := newShell(t)
	l := newLayout(t, "amd64", "arm64")
	write := func(repo, name string) {
		sh.run(t, "skopeo", "copy", "--all", "--preserve-digests",
			"oci:"+l.dir+":"+tag, "oci:"+filepath.Join(zot.Root, repo)+":"+name)
	}

	write("before", tag)

	d := zot.Start(t)
	c := wire.New(d.Addr)
	t.Cleanup(c.Close)

	write("during", tag)
	write("before", "added")

	for _, at := range [][2]string{{"before", tag}, {"before", "added"}, {"during", tag}} {
		_, dgst, err := c.Manifest(t.Context(), at[0], at[1])
		if err != nil || dgst != l.top.Digest {
			t.Errorf("%s:%s: got %s (%v), want %s", at[0], at[1], dgst, err, l.top.Digest)

			continue
		}

		verifyTree(t, served(t, c, at[0]), dgst)
	}

	pushSkopeo(t, sh, d.Addr, d.Addr+"/before:pushed", newLayout(t, "amd64").dir)
	verifyTags(t, c, "before", "added", "pushed", tag)
}

func verifyTags(t *testing.T, c *wire.Client, repo string, want ...string) {
	t.Helper()

	got, err := c.Tags(t.Context(), repo)
	must(t, err)

	if len(got) != len(want) {
		t.Fatalf("tags of %s: got %v, want %v", repo, got, want)
	}

	for i := range want {
		if got[i] != want[i] {
			t.Errorf("tags of %s: got %v, want %v", repo, got, want)
		}
	}
}
