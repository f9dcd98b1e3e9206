package local_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/local"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// openHasty opens a directory whose GC keeps nothing for long, and returns when GC may run.
func openHasty(t *testing.T, dir string) *storagetest.World {
	t.Helper()

	root, err := local.OpenRoot(t.Context(), local.RootOptions{Path: dir, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}

	w := storagetest.OpenOn(t, root, boltOf(t, dir, root), storage.Options{
		Log: zerolog.Nop(), GC: storage.GC{Delay: time.Millisecond, Undelete: time.Millisecond, History: time.Millisecond},
	})

	for _, err = w.Store.Collect(t.Context()); errors.Is(err, storage.ErrTooEarly); _, err = w.Store.Collect(t.Context()) {
		time.Sleep(time.Millisecond)
	}

	w.NoError(err, "collect first")

	return w
}

// While images come, move and go, and GC takes what they leave, a check finds nothing.
func TestCheckBesideLoad(t *testing.T) {
	w := openHasty(t, t.TempDir())

	var load sync.WaitGroup

	stop := make(chan struct{})
	again := func(work func(n int)) {
		load.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
					work(n)
				}
			}
		})
	}

	for i := range 3 {
		again(func(n int) {
			repo := storage.RepoName(fmt.Sprintf("r%d", n%2))
			if _, err := w.TryPush(repo, fmt.Sprintf("t%d-%d", i, n%4), "shared", fmt.Sprintf("%d of %d", n, i)); err != nil &&
				!isMoved(err) {
				t.Errorf("push: %v", err)
			}
		})
	}

	again(func(n int) {
		err := w.Store.DeleteRepo(context.Background(), storage.RepoName(fmt.Sprintf("r%d", n%2)), "")
		if err != nil && !errors.Is(err, storage.ErrRepoUnknown) {
			t.Errorf("delete: %v", err)
		}

		if _, err := w.Store.Collect(context.Background()); err != nil {
			t.Errorf("collect: %v", err)
		}
	})

	for range 25 {
		report, err := w.Store.Check(t.Context(), storage.CheckOptions{}, func(storage.CheckProgress) {})
		w.NoError(err, "check")

		if report.Problems+report.Unchecked > 0 {
			t.Errorf("found: %v", report.Findings)
		}
	}

	close(stop)
	load.Wait()
}

// isMoved says whether GC was faster than a push, as it may be here.
func isMoved(err error) bool {
	var missing *storage.MissingError

	return errors.As(err, &missing)
}

// removeServedCache removes the cache of a process once that looks after it.
func removeServedCache(dir string) error {
	sealed := true
	for end := time.Now().Add(10 * time.Second); sealed && time.Now().Before(end); time.Sleep(time.Millisecond) {
		_, err := os.Stat(filepath.Join(dir, "_cache-seal"))
		sealed = !errors.Is(err, fs.ErrNotExist)
	}

	if sealed {
		return errors.New("the seal of the cache is not broken")
	}

	return os.Remove(filepath.Join(dir, "cache.db"))
}

// A repository is mended while it is served, and so are others.
func TestRepairWhileServing(t *testing.T) {
	for name, harm := range map[string]struct {
		do   func(dir string) error
		kind string
	}{
		"index.json":    {func(dir string) error { return os.Truncate(filepath.Join(dir, "a", "index.json"), 0) }, "index-damaged"},
		"oci-layout":    {func(dir string) error { return os.Remove(filepath.Join(dir, "a", "oci-layout")) }, "layout"},
		"checkpoint":    {func(dir string) error { return overwrite(dir, "a/.zot/checkpoint-*", 0, 10) }, "checkpoint-damaged"},
		"journal":       {func(dir string) error { return overwrite(dir, "a/.zot/journal-*", 1, 100) }, "journal-damaged"},
		"journal, gone": {func(dir string) error { return removeLast(dir, "a/.zot/journal-*") }, "records-missing"},
		"cache.db":      {removeServedCache, ""}, // the process notices by itself
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			serve(t, dir, func(w *storagetest.World) { w.Push("a", "v1", "one", "v1") })
			serve(t, dir, func(w *storagetest.World) {
				w.Push("b", "v1", "one")

				for _, tag := range []string{"v2", "v3", "v4"} {
					w.Push("a", tag, "one", tag)
				}

				w.NoError(harm.do(dir), "do harm")

				report, err := w.Store.Check(t.Context(), storage.CheckOptions{}, func(p storage.CheckProgress) { w.MustGet("b", "v1") })
				w.NoError(err, "check")
				w.Equal(strings.Join(kinds(report, isProblem), " "), harm.kind, "what is found")

				report, err = w.Store.Check(t.Context(), storage.CheckOptions{Repair: true}, func(p storage.CheckProgress) { w.MustGet("b", "v1") })
				w.NoError(err, "repair")
				w.Equal(report.Problems, 0, "what is left")

				w.Push("a", "v5", "one", "v5")

				report, err = w.Store.Check(t.Context(), storage.CheckOptions{}, func(storage.CheckProgress) {})
				w.NoError(err, "check again")
				w.Equal(report.Problems, 0, "what is found afterwards")
				w.Equal(w.Tags("a", "", -1), "v1 v2 v3 v4 v5", "tags")
			})
			serve(t, dir, func(w *storagetest.World) { w.Equal(w.Tags("a", "", -1), "v1 v2 v3 v4 v5", "tags after a start") })
		})
	}
}

// A journal that was cut, or is gone, while the records are in memory is made anew, so that
// what was acknowledged survives kill -9.
func TestRepairOfCutJournalSurvivesKill(t *testing.T) {
	for name, harm := range map[string]func(dir, pattern string) error{"cut": cutLast, "gone": removeLast} {
		t.Run(name, func(t *testing.T) {
			var killed string

			dir := t.TempDir()
			serve(t, dir, func(w *storagetest.World) {
				for _, tag := range []string{"v1", "v2", "v3"} {
					w.Push("a", tag, tag)
				}

				w.NoError(harm(dir, "a/.zot/journal-*"), "do harm")

				_, err := w.Store.Check(t.Context(), storage.CheckOptions{Repair: true}, func(storage.CheckProgress) {})
				w.NoError(err, "repair")

				killed = copyOf(t, dir)

				w.Push("a", "later", "later") // goes on behind what was cut

				report, err := w.Store.Check(t.Context(), storage.CheckOptions{}, func(storage.CheckProgress) {})
				w.NoError(err, "check what is served")
				w.Equal(report.Problems+report.Unchecked, 0, "problems that one repair leaves")
			})
			serve(t, killed, func(w *storagetest.World) {
				w.Equal(w.Tags("a", "", -1), "v1 v2 v3", "tags")
				w.Push("a", "v4", "v4")

				report, err := w.Store.Check(t.Context(), storage.CheckOptions{}, func(storage.CheckProgress) {})
				w.NoError(err, "check")
				w.Equal(report.Problems+report.Unchecked, 0, "problems after a kill")
			})
		})
	}
}

// cutLast cuts the last file that matches in the middle.
func cutLast(dir, pattern string) error {
	name, err := lastOf(dir, pattern)
	if err != nil {
		return err
	}

	info, err := os.Stat(name)
	if err != nil {
		return err
	}

	return os.Truncate(name, info.Size()/2)
}

// removeLast removes the last file that matches.
func removeLast(dir, pattern string) error {
	name, err := lastOf(dir, pattern)
	if err != nil {
		return err
	}

	return os.Remove(name)
}

func lastOf(dir, pattern string) (string, error) {
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(names) == 0 {
		return "", fmt.Errorf("no file %s: %w", pattern, err)
	}

	return names[len(names)-1], nil
}

// overwrite garbles a line of the last file that matches.
func overwrite(dir, pattern string, line, at int) error {
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(names) == 0 {
		return fmt.Errorf("no file %s: %w", pattern, err)
	}

	body, err := os.ReadFile(names[len(names)-1])
	if err != nil {
		return err
	}

	lines := strings.SplitAfter(string(body), "\n")
	lines[line] = lines[line][:at] + "#" + lines[line][at+1:]

	file, err := os.OpenFile(names[len(names)-1], os.O_WRONLY, 0)
	if err != nil {
		return err
	}

	_, err = file.WriteString(strings.Join(lines, ""))

	return errors.Join(err, file.Close())
}

// Of a repository whose log nobody can read the images are left, under other tags.
func TestRepairWithoutLog(t *testing.T) {
	c := newCheckedRoot(t)

	for name := range c.files() {
		if strings.HasPrefix(name, "b/.zot/") || name == "b/index.json" {
			c.must(os.WriteFile(c.file(name), []byte("garbage\n"), 0o600))
		}
	}

	image := digest.Digest("")
	serve(t, copyOf(t, newCheckedRoot(t).dir), func(w *storagetest.World) { image = w.MustGet("b", "v1").Digest })

	found := c.check(storage.CheckOptions{})
	c.equal(found.Problems > 0, true, "problems")
	c.check(storage.CheckOptions{Repair: true})
	c.equal(c.check(storage.CheckOptions{}).Problems, 0, "what is left")
	serve(t, c.dir, func(w *storagetest.World) {
		w.Equal(w.Tags("b", "", -1), "recovered-"+image.Encoded()[:12], "tags")
		w.Equal(w.MustGet("b", image.String()).Digest, image, "the image")
		w.Equal(w.Tags("a", "", -1), allTags, "tags of another repository")
	})
}
