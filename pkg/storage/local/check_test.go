package local_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/local"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// checkedRoot is a directory that is checked while no process serves it. In a are tags v1 to
// v9, in b the same layer as in a:v1, as bytes of its own.
type checkedRoot struct {
	t     *testing.T
	dir   string
	layer digest.Digest // of a:v1, and of b
	own   digest.Digest // of a:v2 only
}

func (c *checkedRoot) must(err error) {
	c.t.Helper()

	if err != nil {
		c.t.Fatal(err)
	}
}

func newCheckedRoot(t *testing.T) *checkedRoot {
	t.Helper()

	c := &checkedRoot{t: t, dir: t.TempDir(), layer: digest.FromString("one"), own: digest.FromString("v2")}

	for _, tags := range []string{"v1 v2", "v3 v4", "v5 v6"} { // serves: checkpoints, and history
		serve(t, c.dir, func(w *storagetest.World) {
			for tag := range strings.FieldsSeq(tags) {
				w.Push("a", tag, "one", tag)
			}

			w.Push("b", "v1", "one")
		})
	}

	serve(t, c.dir, func(w *storagetest.World) { // killed, with a journal
		for _, tag := range []string{"v7", "v8", "v9"} {
			w.Push("a", tag, tag)
		}

		c.dir = copyOf(t, c.dir)
	})

	twin := c.blob("b", c.layer)
	body, err := os.ReadFile(twin)
	c.must(err)
	c.must(os.Remove(twin))
	c.must(os.WriteFile(twin, body, 0o600))

	return c
}

func (c *checkedRoot) file(name string) string { return filepath.Join(c.dir, name) }

func (c *checkedRoot) blob(repo storage.RepoName, dgst digest.Digest) string {
	return c.file(storage.BlobKey(repo, dgst))
}

// glob returns the n-th file that matches, from the end if n is negative.
func (c *checkedRoot) glob(pattern string, n int) string {
	c.t.Helper()

	names, err := filepath.Glob(c.file(pattern))
	c.must(err)

	if n < 0 {
		n += len(names)
	}

	if n < 0 || n >= len(names) {
		c.t.Fatalf("%s: only %q", pattern, names)
	}

	return names[n]
}

func (c *checkedRoot) change(path string, change func([]byte) []byte) {
	c.t.Helper()

	body, err := os.ReadFile(path)
	c.must(err)
	c.must(os.WriteFile(path, change(body), 0o600))
}

func (c *checkedRoot) flip(path string, at int) {
	c.t.Helper()
	c.change(path, func(body []byte) []byte {
		body[(at+len(body))%len(body)] ^= 1

		return body
	})
}

// check checks the directory with a process of its own.
func (c *checkedRoot) check(opts storage.CheckOptions) storage.CheckReport {
	c.t.Helper()

	root, err := local.OpenRoot(c.t.Context(), local.RootOptions{Path: c.dir, Commit: true, Log: zerolog.Nop()})
	c.must(err)

	store, err := storage.Open(c.t.Context(), root, boltOf(c.t, c.dir, root), storage.Options{Log: zerolog.Nop(), Passive: true})
	c.must(err)

	report, err := store.Check(c.t.Context(), opts, func(storage.CheckProgress) {})
	c.must(errors.Join(err, store.Close(context.WithoutCancel(c.t.Context()))))

	return report
}

// boltOf opens the cache of a root.
func boltOf(t *testing.T, dir string, root *local.Root) storage.Cache {
	t.Helper()

	cache, err := storage.Create("boltdb", storage.CacheOptions{Directory: dir, Namespace: root.ID(), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}

	return cache
}

// serve is the life of a process that serves.
func serve(t *testing.T, dir string, work func(w *storagetest.World)) {
	t.Helper()
	t.Run("serve", func(t *testing.T) {
		root, err := local.OpenRoot(t.Context(), local.RootOptions{Path: dir, Commit: true, Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}

		work(storagetest.OpenOn(t, root, boltOf(t, dir, root), storage.Options{Log: zerolog.Nop()}))
	})
}

// files are all files with their content, but for what a check keeps for itself.
func (c *checkedRoot) files() map[string]string {
	c.t.Helper()

	all := map[string]string{}
	c.must(filepath.WalkDir(c.dir, func(path string, entry os.DirEntry, err error) error {
		name, _ := filepath.Rel(c.dir, path)
		if err != nil || entry.IsDir() || strings.HasPrefix(name, "_zot") || strings.HasPrefix(name, "_check") || strings.HasPrefix(name, ".zot.") ||
			strings.HasPrefix(name, "cache.db") {
			return err
		}

		body, err := os.ReadFile(path)
		all[name] = string(body)

		return err
	}))

	return all
}

func kinds(report storage.CheckReport, of func(storage.Finding) bool) []string {
	found := []string{}

	for _, f := range report.Findings {
		if of(f) && !slices.Contains(found, f.Kind) {
			found = append(found, f.Kind)
		}
	}

	slices.Sort(found)

	return found
}

func isProblem(f storage.Finding) bool { return f.Severity == storage.Problem && !f.Mended }
func isMended(f storage.Finding) bool  { return f.Mended }

func (c *checkedRoot) equal(got, want any, what string) {
	c.t.Helper()
	(&storagetest.World{T: c.t}).Equal(got, want, what)
}

// What is sound is found to be so, and nothing is changed by looking.
func TestCheckSound(t *testing.T) {
	c := newCheckedRoot(t)
	c.seal()

	before := c.files()
	report := c.check(storage.CheckOptions{})

	for _, found := range report.Findings {
		if found.Kind != "cache-lacks" { // of what a killed process had just taken, that may be
			t.Errorf("found: %v", found)
		}
	}

	c.equal(report.Repos, 2, "repositories")
	c.equal(report.Manifests, 10, "manifests")

	for name, body := range c.files() {
		if before[name] != body {
			t.Errorf("%s was changed", name)
		}

		delete(before, name)
	}

	if len(before) > 0 {
		t.Errorf("gone: %v", before)
	}
}

// damage is something that is wrong with a root, what a check calls it, and what a repair
// does.
type damage struct {
	name string
	do   func(c *checkedRoot)
	find string // kinds of problems
	left string // those that a repair leaves
	lost string // tags of a that a repair cannot bring back: their manifests get others
}

const allTags = "v1 v2 v3 v4 v5 v6 v7 v8 v9"

var damages = []damage{
	{"a byte of a blob is flipped, and another repository has it", func(c *checkedRoot) { c.flip(c.blob("a", c.layer), 0) }, "blob-damaged", "", ""},
	{"a byte of a blob is flipped", func(c *checkedRoot) { c.flip(c.blob("a", c.own), 0) }, "blob-damaged", "blob-missing", ""},
	{"a byte of a manifest is flipped", func(c *checkedRoot) {
		c.flip(c.blob("b", c.manifestOf("b", "v1")), 10)
	}, "blob-damaged", "blob-missing", ""},
	{"a blob is cut", func(c *checkedRoot) { c.must(os.Truncate(c.blob("a", c.layer), 1)) }, "blob-damaged", "", ""},
	{"a blob is longer", func(c *checkedRoot) {
		c.change(c.blob("a", c.own), func(b []byte) []byte { return append(b, 'x') })
	}, "blob-damaged", "blob-missing", ""},
	{"a blob is missing, and another repository has it", func(c *checkedRoot) { c.must(os.Remove(c.blob("a", c.layer))) }, "blob-missing", "", ""},
	{"a blob is missing", func(c *checkedRoot) { c.must(os.Remove(c.blob("a", c.own))) }, "blob-missing", "blob-missing", ""},
	{"a byte in the middle of a journal is flipped", func(c *checkedRoot) {
		c.change(c.glob("a/.zot/journal-*", -1), func(body []byte) []byte { // in the second of three batches
			lines := bytes.SplitAfter(body, []byte("\n"))
			lines[2][100] ^= 1

			return bytes.Join(lines, nil)
		})
	}, "journal-damaged", "records-lost", "v8"},
	{"the middle of a journal is cut out", func(c *checkedRoot) {
		c.change(c.glob("a/.zot/journal-*", -1), func(body []byte) []byte {
			lines := bytes.SplitAfter(body, []byte("\n"))

			return bytes.Join(append(lines[:2], lines[3:]...), nil)
		})
	}, "journal-damaged", "records-lost", "v8"},
	{"the beginning of a journal is overwritten", func(c *checkedRoot) {
		c.change(c.glob("a/.zot/journal-*", -1), func(body []byte) []byte { return append(make([]byte, 20), body[20:]...) })
	}, "journal-damaged", "", ""},
	{"the newest checkpoint is damaged", func(c *checkedRoot) { c.flip(c.glob("a/.zot/checkpoint-*", -1), 200) }, "checkpoint-damaged", "", ""},
	{"the newest checkpoint is empty", func(c *checkedRoot) {
		c.must(os.Truncate(c.glob("a/.zot/checkpoint-*", -1), 0))
	}, "checkpoint-damaged", "", ""},
	{"the older checkpoint is damaged", func(c *checkedRoot) { c.flip(c.glob("a/.zot/checkpoint-*", 0), 200) }, "checkpoint-damaged", "", ""},
	{"the newest checkpoint is missing", func(c *checkedRoot) {
		c.must(os.Remove(c.glob("a/.zot/checkpoint-*", -1)))
		c.must(os.Remove(c.glob("a/.zot/history-*", -1)))
	}, "records-missing", "records-lost", "v5 v6"},
	{"the newest checkpoint is missing, and the history has its records", func(c *checkedRoot) {
		c.must(os.Remove(c.glob("a/.zot/checkpoint-*", -1)))
	}, "", "", ""},
	{"both checkpoints are damaged", func(c *checkedRoot) {
		c.flip(c.glob("a/.zot/checkpoint-*", -1), 200)
		c.flip(c.glob("a/.zot/checkpoint-*", 0), 200)
	}, "checkpoint-damaged", "", ""},
	{"a file of history is damaged", func(c *checkedRoot) { c.flip(c.glob("a/.zot/history-*", 0), 150) }, "history-damaged", "", ""},
	{"index.json is cut to nothing", func(c *checkedRoot) { c.must(os.Truncate(c.file("a/index.json"), 0)) }, "index-damaged", "", ""},
	{"index.json is emptied", func(c *checkedRoot) {
		c.must(os.WriteFile(c.file("a/index.json"), []byte(`{"schemaVersion":2,"manifests":[]}`), 0o600))
	}, "index-damaged", "", ""},
	{"index.json is missing", func(c *checkedRoot) { c.must(os.Remove(c.file("a/index.json"))) }, "index-missing", "", ""},
	{"oci-layout is missing", func(c *checkedRoot) { c.must(os.Remove(c.file("a/oci-layout"))) }, "layout", "", ""},
	{"oci-layout is garbage", func(c *checkedRoot) { c.must(os.WriteFile(c.file("a/oci-layout"), []byte("x"), 0o600)) }, "layout", "", ""},
	{"a repository is not in the catalog", func(c *checkedRoot) { c.must(os.Remove(c.file("_repos/a"))) }, "catalog", "", ""},
	{"cache.db is gone", func(c *checkedRoot) {
		c.seal()
		c.must(os.Remove(c.file("cache.db")))
	}, "cache-lost", "", ""},
}

// seal has a process fill the cache, and end in order.
func (c *checkedRoot) seal() {
	c.t.Helper()

	for range 100 {
		serve(c.t, c.dir, func(w *storagetest.World) { w.MustGet("a", "v1") })

		if _, err := os.Stat(c.file("_cache-seal")); err == nil {
			return
		}
	}

	c.t.Fatal("the cache is not sealed")
}

// manifestOf returns the digest of a tag, as a copy of the root says.
func (c *checkedRoot) manifestOf(repo storage.RepoName, tag string) (dgst digest.Digest) {
	c.t.Helper()
	serve(c.t, copyOf(c.t, c.dir), func(w *storagetest.World) { dgst = w.MustGet(repo, tag).Digest })

	return dgst
}

// Each damage is named. A repair mends what it can, quarantines the rest, and what it leaves
// is found again. Then the directory is served.
func TestCheckDamage(t *testing.T) {
	for _, damage := range damages {
		t.Run(damage.name, func(t *testing.T) {
			c := newCheckedRoot(t)
			tags := c.tagsWithout(damage.lost)
			damage.do(c)
			bytesBefore := c.files()

			c.equal(strings.Join(kinds(c.check(storage.CheckOptions{}), isProblem), " "), damage.find, "what is found")

			repaired := c.check(storage.CheckOptions{Repair: true})
			if damage.find != "" && damage.left == "" {
				c.equal(strings.Join(kinds(repaired, isMended), " "), damage.find, "what is mended")
			}

			left := c.check(storage.CheckOptions{})
			if damage.left == "records-lost" { // told once: nothing is left of it
				c.equal(strings.Join(kinds(repaired, isProblem), " "), damage.left, "what the repair could not mend")
				c.equal(left.Problems, 0, "what is left")
			} else {
				c.equal(strings.Join(kinds(left, isProblem), " "), damage.left, "what is left")
			}

			c.nothingIsLost(bytesBefore)
			serve(t, c.dir, func(w *storagetest.World) {
				w.Equal(w.Tags("a", "", -1), tags, "tags")
				w.Push("a", "later", "later")
				w.Push("a", "v2", "one", "v2")
				w.Push("b", "v1", "one")
				w.Equal(w.Pull("a", digest.FromString("v2")), "v2", "what was pushed again")
			})
			c.equal(c.check(storage.CheckOptions{}).Problems, 0, "after a push")
		})
	}
}

// tagsWithout returns the tags of a where those of some manifests are lost.
func (c *checkedRoot) tagsWithout(lost string) string {
	c.t.Helper()

	tags := strings.Fields(allTags)
	for tag := range strings.FieldsSeq(lost) {
		tags[slices.Index(tags, tag)] = "recovered-" + c.manifestOf("a", tag).Encoded()[:12]
	}

	slices.Sort(tags)

	return strings.Join(tags, " ")
}

// nothingIsLost looks whether all bytes that were there are there still, somewhere. What a
// checkpoint replaces is not.
func (c *checkedRoot) nothingIsLost(before map[string]string) {
	c.t.Helper()

	var all []string
	for _, body := range c.files() {
		all = append(all, body)
	}

	for name, body := range before {
		base := filepath.Base(name)
		if !slices.Contains(all, body) && base != "index.json" && !strings.HasPrefix(base, "checkpoint-") && base != "_cache-seal" {
			c.t.Errorf("%s is lost", name)
		}
	}
}

// What is damaged is not served, from when it was found; a push heals it.
func TestCheckMarks(t *testing.T) {
	c := newCheckedRoot(t)
	c.flip(c.blob("a", c.own), 0)

	serve(t, c.dir, func(w *storagetest.World) {
		_, err := w.Store.Scrub(t.Context(), storage.ScrubOptions{}, func(storage.CheckProgress) {})
		w.NoError(err, "scrub")
		w.Is(w.Stat("a", c.own), storage.ErrBlobUnknown, "HEAD")

		_, err = w.Store.OpenBlob(t.Context(), "a", c.own, storage.Whole)
		w.Is(err, storage.ErrDamaged, "GET")
	})
	serve(t, c.dir, func(w *storagetest.World) {
		_, err := w.Store.OpenBlob(t.Context(), "a", c.own, storage.Whole)
		w.Is(err, storage.ErrDamaged, "GET after a start")
		w.Blob("a", "v2")
		w.Equal(w.Pull("a", c.own), "v2", "after a push")
	})
}

// A purge takes what a repair has put aside.
func TestPurgeQuarantine(t *testing.T) {
	c := newCheckedRoot(t)
	c.flip(c.blob("a", c.own), 0)
	c.check(storage.CheckOptions{Repair: true})
	c.equal(len(c.quarantined()), 1, "files in the quarantine")

	serve(t, c.dir, func(w *storagetest.World) {
		_, err := w.Store.Purge(t.Context(), "a", c.own, storage.PurgeOptions{Force: true}, "")
		w.NoError(err, "purge")
	})
	c.equal(len(c.quarantined()), 0, "files in the quarantine after a purge")
}

// Everywhere is also where nothing is left but what was put aside, whatever the repository's name.
func TestPurgeQuarantineEverywhere(t *testing.T) {
	c := newCheckedRoot(t)
	serve(t, c.dir, func(w *storagetest.World) { w.Push("c/blobs/d", "v1", "only") })

	only := digest.FromString("only")
	c.flip(c.blob("c/blobs/d", only), 0)
	c.flip(c.blob("a", c.layer), 0)
	c.flip(c.blob("b", c.layer), 0)
	c.check(storage.CheckOptions{Repair: true})
	c.equal(len(c.quarantined()), 3, "files in the quarantine")

	purge := func(repo storage.RepoName, dgst digest.Digest, opts storage.PurgeOptions) {
		serve(t, c.dir, func(w *storagetest.World) {
			_, err := w.Store.Purge(t.Context(), repo, dgst, opts, "")
			w.NoError(err, "purge")
		})
	}

	purge("c/blobs/d", only, storage.PurgeOptions{Force: true})
	c.equal(len(c.quarantined()), 2, "files in the quarantine after a purge")
	purge("a", c.layer, storage.PurgeOptions{Force: true})
	c.equal(len(c.quarantined()), 1, "after one of a repository that shared its layer")
	purge("a", c.layer, storage.PurgeOptions{Everywhere: true})
	c.equal(len(c.quarantined()), 0, "after one of all repositories")
}

func (c *checkedRoot) quarantined() []string {
	var names []string

	for name := range c.files() {
		if strings.HasPrefix(name, "_quarantine/") {
			names = append(names, name)
		}
	}

	return names
}

// A check goes on where it cannot write how far it is, as on a disk that is full.
func TestCheckWithoutPosition(t *testing.T) {
	c := newCheckedRoot(t)

	root, err := local.OpenRoot(t.Context(), local.RootOptions{Path: c.dir, Commit: true, Log: zerolog.Nop()})
	c.must(err)

	fault := storagetest.NewFault(root)
	w := storagetest.OpenOn(t, fault, storagetest.NewMapCache(), storage.Options{Log: zerolog.Nop(), Passive: true})
	fault.FailAt(1, storagetest.NotDone, func(name string) bool { return name == "put _check/fsck.json" })

	report, err := w.Store.Check(t.Context(), storage.CheckOptions{}, func(storage.CheckProgress) {})
	c.must(err)
	c.equal(fault.Hit(), "put _check/fsck.json", "what has failed")
	c.equal(report.Repos, 2, "repositories")
}

// unsealed is a cache whose seal another process breaks when it is asked for.
type unsealed struct {
	storage.Cache

	seal string
}

func (u unsealed) HasBlob(_ context.Context, _ digest.Digest, entry string) (bool, error) {
	if strings.HasPrefix(entry, "sealed/") {
		return false, os.Remove(u.seal)
	}

	return true, nil
}

// A process that begins to serve beside a check breaks the seal; the cache is not lost.
func TestCheckBesideStart(t *testing.T) {
	c := newCheckedRoot(t)
	c.seal()

	root, err := local.OpenRoot(t.Context(), local.RootOptions{Path: c.dir, Commit: true, Log: zerolog.Nop()})
	c.must(err)

	cache := unsealed{boltOf(t, c.dir, root), c.file("_cache-seal")}
	w := storagetest.OpenOn(t, root, cache, storage.Options{Log: zerolog.Nop(), Passive: true})

	report, err := w.Store.Check(t.Context(), storage.CheckOptions{}, func(storage.CheckProgress) {})
	c.must(err)
	c.equal(strings.Join(kinds(report, isProblem), " "), "", "problems")

	_, err = os.Stat(cache.seal)
	c.equal(errors.Is(err, os.ErrNotExist), true, "the seal was broken")
}

// A check that is broken off goes on where it was, and knows what it had found.
func TestCheckResumes(t *testing.T) {
	c := newCheckedRoot(t)
	c.flip(c.blob("a", c.own), 0)

	serve(t, c.dir, func(w *storagetest.World) {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := w.Store.Check(ctx, storage.CheckOptions{}, func(p storage.CheckProgress) {
			if p.Finding != nil && p.Finding.Kind == "blob-damaged" {
				cancel()
			}
		})
		w.Is(err, context.Canceled, "a check that is broken off")
	})

	report := c.check(storage.CheckOptions{})
	c.equal(report.Resumed, true, "goes on")
	c.equal(strings.Join(kinds(report, isProblem), " "), "blob-damaged", "what was found before")

	whole := c.check(storage.CheckOptions{FromStart: true})
	c.equal(whole.Resumed, false, "begins anew")
	c.equal(whole.Blobs > report.Blobs-1, true, "reads all")
}
