package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	. "github.com/smartystreets/goconvey/convey"
)

func TestSource(t *testing.T) {
	dir := t.TempDir()

	Convey("A pipe is refused, not waited for", t, func() {
		path := filepath.Join(dir, "pipe.json")
		So(syscall.Mkfifo(path, 0o600), ShouldBeNil)

		_, _, err := Load(path)
		So(err, ShouldBeError, path+": is a pipe; name a regular file")
	})

	Convey("So is a directory", t, func() {
		path := filepath.Join(dir, "dir.json")
		So(os.Mkdir(path, 0o700), ShouldBeNil)

		_, _, err := Load(path)
		So(err, ShouldBeError, path+": is a directory; name a regular file")
	})

	Convey("So is a device, and whatever a link leads to", t, func() {
		path := filepath.Join(dir, "device.json")
		So(os.Symlink(os.DevNull, path), ShouldBeNil)

		_, _, err := Load(path)
		So(err, ShouldBeError, path+": is a device; name a regular file")
	})

	Convey("A file may have maxSize bytes, and no more", t, func() {
		path := mustWrite(t, "zot.json", "{}")
		So(os.Truncate(path, maxSize), ShouldBeNil)

		data, err := source(path)
		So(err, ShouldBeNil)
		So(len(data), ShouldEqual, maxSize)

		So(os.Truncate(path, maxSize+1), ShouldBeNil)

		_, err = source(path)
		So(err, ShouldBeError, path+": is larger than 10 MiB; name a configuration file")
	})
}

// manyKeys is n keys that are not known, each written as format says.
func manyKeys(n int, format, separator string) string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf(format, i)
	}

	return strings.Join(keys, separator)
}

func TestManyMistakes(t *testing.T) {
	const n = 20_000

	Convey("Of many mistakes the first 50 are printed", t, func() {
		path := mustWrite(t, "zot.json", "{"+manyKeys(n, `"key%d": 1`, ",\n")+"}")
		_, _, err := runToEnd(t, "verify", path)

		So(err, ShouldNotBeNil)

		lines := strings.Split(err.Error(), "\n")
		So(lines, ShouldHaveLength, 51)
		So(lines[0], ShouldStartWith, path+": key0: unknown key; ")
		So(lines[50], ShouldEqual, fmt.Sprintf("%s: and %d more", path, n+1-50)) // with storage.rootDirectory
	})

	Convey("50 mistakes are all printed", t, func() {
		So(make(Mistakes, 50).lines(), ShouldHaveLength, 50)
		So(make(Mistakes, 51).lines()[50], ShouldEqual, "and 1 more")
	})
}

func TestYAMLAliases(t *testing.T) {
	Convey("Anchors and merges are read", t, func() {
		f := mustDecode(t, "yaml", "storage: {subPaths: {/a: &a {rootDirectory: x}, /b: {<<: *a, gc: true}}}")

		So(f.mistakes, ShouldBeEmpty)
		So(f.cfg.Storage.SubPaths["/b"].RootDirectory, ShouldEqual, "x")
	})

	Convey("An anchor that holds itself is refused", t, func() {
		_, err := decode("yaml", []byte("storage: &a {subPaths: *a}"))

		So(err, ShouldNotBeNil)
		So(err.Error(), ShouldContainSubstring, "contains itself")
	})
}
