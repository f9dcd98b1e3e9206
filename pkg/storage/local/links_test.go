package local_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/local"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// outsideWord is in all files outside of the root, and in none in it.
const outsideWord = "no business of zot's"

// planted is a root in which somebody has put links, and what these lead to.
type planted struct {
	*checkedRoot

	outside string
	upload  string // an upload under way in a
}

// outsideFile makes a file, or a directory with some, outside of the root.
func (p *planted) outsideFile(name string) string {
	p.t.Helper()

	path := filepath.Join(p.outside, name)
	p.must(os.MkdirAll(filepath.Dir(path), 0o700))
	p.must(os.WriteFile(path, []byte(outsideWord), 0o600))

	return path
}

// link puts a link in place of what is at name.
func (p *planted) link(name, target string) {
	p.t.Helper()
	p.must(os.RemoveAll(p.file(name)))
	p.must(os.MkdirAll(filepath.Dir(p.file(name)), 0o700))
	p.must(os.Symlink(target, p.file(name)))
}

func (p *planted) pipe(name string) {
	p.t.Helper()
	p.must(os.RemoveAll(p.file(name)))
	p.must(unix.Mkfifo(p.file(name), 0o600))
}

// own is the key of the layer of a:v2.
func (p *planted) ownKey() string { return storage.BlobKey("a", p.own) }

// base is the name of a file in a directory of the root, from the end.
func (p *planted) last(pattern string) string {
	p.t.Helper()

	name, err := filepath.Rel(p.dir, p.glob(pattern, -1))
	p.must(err)

	return name
}

// journal is the name of the newest journal. There may be none, if a checkpoint has covered it:
// then it is one that may come to be.
func (p *planted) journal() string {
	p.t.Helper()

	names, err := filepath.Glob(filepath.Join(p.dir, "a/.zot/journal-*"))
	p.must(err)

	if len(names) == 0 {
		return "a/.zot/journal-00000000000000000100.log"
	}

	return p.last("a/.zot/journal-*")
}

// plants are what somebody can put into a root.
var plants = map[string]func(p *planted){
	"a repository": func(p *planted) { p.link("a", filepath.Dir(p.outsideFile("a/index.json"))) },
	"a directory that may be a repository": func(p *planted) {
		p.link("new", filepath.Dir(p.outsideFile("new/blobs/sha256/"+p.own.Encoded())))
	},
	"the directory above a repository": func(p *planted) { p.link("new", p.outside) },
	"a repository of the same root":    func(p *planted) { p.link("new", p.file("a")) },
	"blobs": func(p *planted) {
		p.must(os.MkdirAll(filepath.Join(p.outside, "blobs", "empty"), 0o700))
		p.link("a/blobs", filepath.Join(p.outside, "blobs"))
	},
	"blobs of an algorithm": func(p *planted) {
		p.link("a/blobs/sha256", filepath.Dir(p.outsideFile("sha256/"+p.own.Encoded())))
	},
	"a blob": func(p *planted) { p.link(p.ownKey(), p.outsideFile("secret")) },
	"a blob of the same length": func(p *planted) {
		path := p.outsideFile("secret")
		p.must(os.WriteFile(path, []byte(outsideWord[:len("v2")]), 0o600))
		p.link(p.ownKey(), path)
	},
	"a blob that nobody names": func(p *planted) { p.link("a/blobs/sha256/"+digest.FromString("x").Encoded(), p.outsideFile("x")) },
	"a manifest":               func(p *planted) { p.link(storage.BlobKey("a", p.manifestOf("a", "v2")), p.outsideFile("manifest")) },
	"a pipe for a blob":        func(p *planted) { p.pipe(p.ownKey()) },
	"a pipe for a manifest":    func(p *planted) { p.pipe(storage.BlobKey("a", p.manifestOf("a", "v2"))) },
	"a device for a blob":      func(p *planted) { p.link(p.ownKey(), "/dev/zero") },
	"a loop for a blob":        func(p *planted) { p.link(p.ownKey(), p.own.Encoded()) },
	"a loop of directories":    func(p *planted) { p.link("a/loop", "..") },
	"uploads":                  func(p *planted) { p.link("a/.uploads", filepath.Dir(p.outsideFile("uploads/"+p.upload))) },
	"an upload":                func(p *planted) { p.link("a/.uploads/"+p.upload, p.outsideFile("upload")) },
	"the note of an upload":    func(p *planted) { p.link("a/.uploads/"+p.upload+".note", p.outsideFile("note")) },
	"a pipe for an upload":     func(p *planted) { p.pipe("a/.uploads/" + p.upload) },
	"index.json":               func(p *planted) { p.link("a/index.json", p.outsideFile("index.json")) },
	"a pipe for index.json":    func(p *planted) { p.pipe("a/index.json") },
	"oci-layout":               func(p *planted) { p.link("a/oci-layout", p.outsideFile("oci-layout")) },
	"the log": func(p *planted) {
		p.link("a/.zot", filepath.Dir(p.outsideFile("log/journal-00000000000000000001.log")))
	},
	"a journal":            func(p *planted) { p.link(p.journal(), p.outsideFile("journal")) },
	"a pipe for a journal": func(p *planted) { p.pipe(p.journal()) },
	"a checkpoint":         func(p *planted) { p.link(p.last("a/.zot/checkpoint-*"), p.outsideFile("checkpoint")) },
	"history":              func(p *planted) { p.link(p.last("a/.zot/history-*"), p.outsideFile("history")) },
	"the catalog":          func(p *planted) { p.link("_repos", filepath.Dir(p.outsideFile("_repos/a"))) },
	"marks":                func(p *planted) { p.link("_marks", filepath.Dir(p.outsideFile("_marks/a"))) },
	"the cache":            func(p *planted) { p.link("cache.db", p.outsideFile("cache.db")) },
	"the reserve": func(p *planted) {
		path := p.outsideFile("reserve")
		p.must(os.Truncate(path, 256<<10))
		p.link("_zot/reserve", path)
	},
	"the lock":           func(p *planted) { p.link(".zot.lock", p.outsideFile("lock")) },
	"root.json":          func(p *planted) { p.link("_zot/root.json", p.outsideFile("root.json")) },
	"zot's directory":    func(p *planted) { p.link("_zot", filepath.Dir(p.outsideFile("_zot/root.json"))) },
	"temporary files":    func(p *planted) { p.link("_tmp", filepath.Dir(p.outsideFile("_tmp/1"))) },
	"files put aside":    func(p *planted) { p.link("_check", filepath.Dir(p.outsideFile("_check/1"))) },
	"_all-flushed":       func(p *planted) { p.link("_all-flushed", p.outsideFile("_all-flushed")) },
	"when it was pulled": func(p *planted) { p.link("a/.pulls", filepath.Dir(p.outsideFile("pulls/local"))) },
}

// TestLinks: whatever links, pipes and devices somebody has put into a root, nothing outside of
// it is read, written or removed, and nothing waits for ever.
func TestLinks(t *testing.T) {
	base := newCheckedRoot(t)
	upload := ""

	serve(t, base.dir, func(w *storagetest.World) {
		upload = w.Start("a")
		w.Append("a", upload, 0, "half of it")
	})

	for name, plant := range plants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			own := *base
			own.t, own.dir = t, copyOf(t, base.dir)
			p := &planted{checkedRoot: &own, outside: t.TempDir(), upload: upload}
			plant(p)

			before := p.outsideNow()

			for _, repair := range []bool{false, true} {
				p.serve()
				p.checkLoosely(storage.CheckOptions{Repair: repair, FromStart: true})
			}

			if after := p.outsideNow(); after != before {
				t.Errorf("outside of the root was\n%s\nand is\n%s", before, after)
			}
		})
	}
}

// outsideNow is all that is outside of the root.
func (p *planted) outsideNow() string {
	p.t.Helper()

	var all strings.Builder

	p.must(filepath.WalkDir(p.outside, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}

		info, err := entry.Info()
		if err != nil {
			return err
		}

		fmt.Fprintf(&all, "%s %s %s\n", path, info.Mode(), info.ModTime())

		if entry.IsDir() {
			return nil
		}

		body, err := os.ReadFile(path)
		fmt.Fprintf(&all, "%d %.40q\n", len(body), body)

		return err
	}))

	return all.String()
}

// serve does what a process can do to repositories, each of which may fail.
func (p *planted) serve() {
	g, err := tryOpenGarbage(p.t, p.dir, nil)
	if err != nil {
		p.expected(err)

		return
	}

	ctx := p.t.Context()

	for _, repo := range []storage.RepoName{"a", "b", "new", "new/a"} {
		p.use(g, repo)
	}

	dst := storagetest.Open(p.t, openDirectory)
	_, err = g.TryCopy(dst, storage.CopyOptions{})
	p.expected(err)

	for range 2 {
		g.wait(2 * undelete)

		_, err = g.Store.Collect(ctx)
		p.expected(err)
	}

	_, err = g.Store.Scrub(ctx, storage.ScrubOptions{FromStart: true}, func(storage.CheckProgress) {})
	p.expected(err)

	_, err = g.Store.Purge(ctx, "a", p.layer, storage.PurgeOptions{Force: true, Everywhere: true}, "")
	p.expected(err)

	for _, repo := range []storage.RepoName{"b", "new", "new/a", "a"} {
		p.expected(g.Store.DeleteRepo(ctx, repo, ""))
	}

	g.wait(2 * undelete)

	_, err = g.Store.Collect(ctx)
	p.expected(err)
	p.expected(g.Store.Close(context.WithoutCancel(ctx)))
}

// use pushes to and pulls from a repository.
func (p *planted) use(g garbageWorld, repo storage.RepoName) {
	ctx := p.t.Context()

	for _, dgst := range []digest.Digest{p.own, p.layer, digest.FromString("x")} {
		object, err := g.Store.OpenBlob(ctx, repo, dgst, storage.Whole)
		p.expected(err)

		if err == nil {
			body, err := io.ReadAll(io.LimitReader(object.Body, 1<<20))
			p.expected(err)
			p.must(object.Close())
			p.secret(string(body))
		}

		p.expected(g.Stat(repo, dgst))
		p.expected(g.Store.MountBlob(ctx, "mounted", dgst, repo, ""))
	}

	for _, tag := range []string{"v1", "v2", "v9"} {
		manifest, err := g.Store.GetManifest(ctx, repo, storage.Reference{Tag: storage.Tag(tag)})
		p.expected(err)
		p.secret(string(manifest.Body))
	}

	_, err := g.Finish(repo, p.upload, storage.Chunk{Body: strings.NewReader("more"), Length: 4, Seen: -1}, digest.FromString("half of itmore"))
	p.expected(err)

	_, err = g.TryPush(repo, "pushed", "v2", "pushed")
	p.expected(err)
	p.expected(g.Delete(repo, "v1", storage.Precondition{}))
	p.expected(g.DeleteBlob(repo, digest.FromString("x")))
}

// checkLoosely checks the root, which may fail.
func (p *planted) checkLoosely(opts storage.CheckOptions) {
	root, err := local.OpenRoot(p.t.Context(), local.RootOptions{Path: p.dir, Commit: true, Log: zerolog.Nop()})
	if err != nil {
		p.expected(err)

		return
	}

	cache := boltOf(p.t, p.dir, root)

	store, err := storage.Open(p.t.Context(), root, cache, storage.Options{Log: zerolog.Nop(), Passive: true})
	if err != nil {
		p.expected(err)
		p.must(errors.Join(root.Close(), cache.Close()))

		return
	}

	report, err := store.Check(p.t.Context(), opts, func(storage.CheckProgress) {})
	p.expected(err)
	p.secret(fmt.Sprint(report))
	p.must(store.Close(context.WithoutCancel(p.t.Context())))
}

func (p *planted) expected(err error) { p.secret(fmt.Sprint(err)) }

func (p *planted) secret(text string) {
	p.t.Helper()

	if strings.Contains(text, outsideWord) || text == outsideWord[:len("v2")] {
		p.t.Errorf("what is outside of the root was read: %s", text)
	}
}
