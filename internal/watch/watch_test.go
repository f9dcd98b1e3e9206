package watch

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// limit is how long a change may take to be told of on a machine that is busy.
const limit = 10 * time.Second

// never is a poll that is not waited for.
const never = time.Hour

func must(t *testing.T, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

// watching watches files until the test ends.
func watching(t *testing.T, poll time.Duration, files ...string) *Watcher {
	t.Helper()

	w, err := New(files, Options{Quiet: 20 * time.Millisecond, Poll: poll})
	must(t, err)
	t.Cleanup(func() { must(t, w.Close()) })

	return w
}

// change does something, and waits until that is told of.
func (w *Watcher) change(t *testing.T, what string, do func()) {
	t.Helper()
	do()

	select {
	case <-w.Changes():
	case <-time.After(limit):
		t.Fatalf("%s: not told of", what)
	}
}

// until waits until path reads as text after a change that was told of.
func (w *Watcher) until(t *testing.T, path, text string) (seen []string) {
	t.Helper()

	deadline := time.After(limit)

	for {
		select {
		case <-w.Changes():
			data, err := os.ReadFile(path)
			must(t, err)

			if seen = append(seen, string(data)); string(data) == text {
				return seen
			}
		case <-deadline:
			t.Fatalf("%q was never told of, only %q", text, seen)
		}
	}
}

func TestChanges(t *testing.T) {
	dir := t.TempDir()
	file, other := filepath.Join(dir, "file"), filepath.Join(dir, "other")
	write(t, file, "one")
	w := watching(t, never, file)

	w.change(t, "written in place", func() { write(t, file, "two!") })
	w.change(t, "renamed over", func() {
		write(t, other, "3333")
		must(t, os.Rename(other, file))
	})
	w.change(t, "removed", func() { must(t, os.Remove(file)) })
	w.change(t, "made again", func() { write(t, file, "four") })
	w.change(t, "mode", func() { must(t, os.Chmod(file, 0o644)) })
}

// TestOthers: what else happens in the directory is not told of.
func TestOthers(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	write(t, file, "one")
	w := watching(t, 50*time.Millisecond, file)

	for range 20 {
		write(t, filepath.Join(dir, "log"), "line")
		<-time.After(10 * time.Millisecond)
	}

	select {
	case <-w.Changes():
		t.Error("a change was told of that is none")
	case <-time.After(200 * time.Millisecond):
	}
}

// TestHalves: a file that is written in two halves is told of when it is whole, whatever was
// read of it before.
func TestHalves(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "before")
	w := watching(t, never, file)

	f, err := os.OpenFile(file, os.O_WRONLY|os.O_TRUNC, 0)
	must(t, err)

	_, err = f.WriteString("half")
	must(t, err)
	w.until(t, file, "half")

	_, err = f.WriteString(" and half")
	must(t, err)
	must(t, f.Close())
	w.until(t, file, "half and half")
}

// TestStandsStill: while a file changes nothing is told, and once when it has stood still.
func TestStandsStill(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")

	w := &Watcher{changes: make(chan struct{}, 1)}
	w.Set([]string{file})

	for i, step := range []struct {
		text        string
		again, told bool
	}{
		{"", false, false},
		{"one", true, false},
		{"one, two", true, false},
		{"one, two", false, true},
		{"one, two", false, false},
	} {
		if step.again {
			write(t, file, step.text)
		}

		again, told := w.look(), false

		select {
		case <-w.Changes():
			told = true
		default:
		}

		if again != step.again || told != step.told {
			t.Errorf("look %d: look again %v, told %v", i, again, told)
		}
	}
}

// TestConfigMap does as the kubelet does: file -> ..data/file, ..data -> a directory, which is
// replaced by a rename, and then removed.
func TestConfigMap(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")

	put := func(version, text string) {
		must(t, os.Mkdir(filepath.Join(dir, version), 0o700))
		write(t, filepath.Join(dir, version, "file"), text)
		must(t, os.Symlink(version, filepath.Join(dir, "..tmp")))
		must(t, os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")))
	}

	put("..1", "one")
	must(t, os.Symlink(filepath.Join("..data", "file"), file))

	w := watching(t, never, file)

	for _, next := range []struct{ old, version, text string }{{"..1", "..2", "two"}, {"..2", "..3", "333"}} {
		put(next.version, next.text)
		w.until(t, file, next.text)
		must(t, os.RemoveAll(filepath.Join(dir, next.old)))
	}
}

// TestDirectoryReplaced: the directory goes, and another one comes under its name.
func TestDirectoryReplaced(t *testing.T) {
	root := t.TempDir()
	dir, next := filepath.Join(root, "dir"), filepath.Join(root, "next")
	file := filepath.Join(dir, "file")

	must(t, os.Mkdir(dir, 0o700))
	write(t, file, "one")
	w := watching(t, 100*time.Millisecond, file)

	for _, text := range []string{"two", "333", "four"} {
		must(t, os.Mkdir(next, 0o700))
		write(t, filepath.Join(next, "file"), text)
		must(t, os.Rename(dir, filepath.Join(root, "old-"+text)))
		must(t, os.Rename(next, dir))
		w.until(t, file, text)
	}

	w.change(t, "the directory is removed", func() { must(t, os.RemoveAll(dir)) })
	must(t, os.Mkdir(dir, 0o700))
	write(t, file, "five!")
	w.until(t, file, "five!")
}

// TestLinks: a change anywhere on the way to the file is told of.
func TestLinks(t *testing.T) {
	far, near := t.TempDir(), t.TempDir()
	write(t, filepath.Join(far, "real"), "one")
	must(t, os.Mkdir(filepath.Join(far, "dir"), 0o700))
	write(t, filepath.Join(far, "dir", "real"), "two!")
	must(t, os.Symlink(far, filepath.Join(near, "link")))
	must(t, os.Symlink(filepath.Join("link", "real"), filepath.Join(near, "file")))

	w := watching(t, never, filepath.Join(near, "file"))
	w.change(t, "at the target", func() { write(t, filepath.Join(far, "real"), "333") })
	w.change(t, "at the link between", func() {
		must(t, os.Symlink(filepath.Join(far, "dir"), filepath.Join(near, "new")))
		must(t, os.Rename(filepath.Join(near, "new"), filepath.Join(near, "link")))
	})
	w.change(t, "at the new target", func() { write(t, filepath.Join(far, "dir", "real"), "four!") })
}

// TestPoll: what no event tells of is found all the same: a directory that comes later.
func TestPoll(t *testing.T) {
	file := filepath.Join(t.TempDir(), "later", "file")
	w := watching(t, 20*time.Millisecond, file)

	must(t, os.Mkdir(filepath.Dir(file), 0o700))
	w.change(t, "made", func() { write(t, file, "one") })
	w.change(t, "written", func() { write(t, file, "two!") })

	must(t, w.events.Remove(filepath.Dir(file)))
	w.change(t, "written without a watch", func() { write(t, file, "three") })
}

// TestSet: who sets other files misses no change: neither one to a file that was watched before
// that was not told of yet, nor one that comes after.
func TestSet(t *testing.T) {
	dir := t.TempDir()
	old, added := filepath.Join(dir, "old"), filepath.Join(t.TempDir(), "added")
	write(t, old, "one")
	write(t, added, "one")

	w := watching(t, never, old)
	w.change(t, "the old file, before", func() {
		write(t, old, "two!")
		w.Set([]string{old, added})
	})
	w.change(t, "the new file", func() { write(t, added, "two!") })

	w.Set([]string{added})
	write(t, old, "three")

	select {
	case <-w.Changes():
		t.Error("a file is told of that is not watched any more")
	case <-time.After(200 * time.Millisecond):
	}
}
