package storage_test

import (
	"errors"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/rs/zerolog"
	. "github.com/smartystreets/goconvey/convey"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/cache"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// Here and not in package cache, which must not know the interface.
var (
	_ storage.Cache = (*cache.BoltDB)(nil)
	_ storage.Cache = storage.NoCache{}
)

func TestCreate(t *testing.T) {
	create := func(name string, opts storage.CacheOptions) (storage.Cache, error) {
		opts.Log = zerolog.Nop()

		return storage.Create(name, opts)
	}

	Convey("the factory", t, func() {
		Convey("opens boltdb in the directory of the store", func() {
			dir := t.TempDir()
			opened, err := create("boltdb", storage.CacheOptions{Directory: dir})
			So(err, ShouldBeNil)
			So(opened.Name(), ShouldEqual, "boltdb")
			So(opened.Close(), ShouldBeNil)

			_, err = os.Stat(filepath.Join(dir, "cache.db"))
			So(err, ShouldBeNil)
		})

		Convey("names the known drivers if a name is not known", func() {
			opened, err := create("rocksdb", storage.CacheOptions{Directory: t.TempDir()})
			So(opened, ShouldBeNil)
			So(err.Error(), ShouldContainSubstring, `"rocksdb" is not known`)
			So(err.Error(), ShouldContainSubstring, "boltdb")
		})

		Convey("refuses boltdb without a directory", func() {
			opened, err := create("boltdb", storage.CacheOptions{})
			So(opened, ShouldBeNil)
			So(err.Error(), ShouldContainSubstring, "needs a local directory")
		})

		Convey("refuses settings that boltdb does not have", func() {
			opened, err := create("boltdb", storage.CacheOptions{
				Directory: t.TempDir(),
				Settings:  map[string]any{"url": "redis://", "keyprefix": "zot"},
			})
			So(opened, ShouldBeNil)
			So(err.Error(), ShouldContainSubstring, "keyprefix, url")
		})

		Convey("returns nil in the interface if a driver fails, not a nil pointer", func() {
			opened, err := create("boltdb", storage.CacheOptions{Directory: filepath.Join(t.TempDir(), "missing")})
			So(opened == nil, ShouldBeTrue)
			So(errors.Is(err, os.ErrNotExist), ShouldBeTrue)
		})
	})
}

func TestRegister(t *testing.T) {
	broken := func(storage.CacheOptions) (storage.Cache, error) { return nil, nil } //nolint:nilnil // the bug under test

	Convey("registering", t, func() {
		Convey("without a name, without a function, or twice is a bug", func() {
			So(func() { storage.Register("", broken) }, ShouldPanic)
			So(func() { storage.Register("nothing", nil) }, ShouldPanic)
			So(func() { storage.Register("boltdb", broken) }, ShouldPanic)
			So(storage.CacheNames(), ShouldNotContain, "nothing")
		})
	})

	Convey("a driver that returns nothing at all is an error", t, func() {
		name := "test-broken-" + uuid.NewString() // a name can be taken once in a process
		storage.Register(name, broken)

		opened, err := storage.Create(name, storage.CacheOptions{})
		So(opened, ShouldBeNil)
		So(err, ShouldNotBeNil)
	})
}

func TestNoCache(t *testing.T) {
	Convey("NoCache takes everything and knows nothing", t, func() {
		var none storage.Cache = storage.NoCache{}

		So(none.PutBlob(t.Context(), "sha256:00", "a/blobs/sha256/00"), ShouldBeNil)

		_, err := none.GetBlob(t.Context(), "sha256:00")
		So(errors.Is(err, storage.ErrCacheMiss), ShouldBeTrue)

		_, err = none.GetAllBlobs(t.Context(), "sha256:00", -1)
		So(errors.Is(err, storage.ErrCacheMiss), ShouldBeTrue)

		has, err := none.HasBlob(t.Context(), "sha256:00", "a/blobs/sha256/00")
		So(has, ShouldBeFalse)
		So(err, ShouldBeNil)
		So(none.DeleteBlob(t.Context(), "sha256:00", "a/blobs/sha256/00"), ShouldBeNil)
		So(none.Name(), ShouldEqual, "none")
		So(none.Close(), ShouldBeNil)
	})
}

// The driver of ExampleRegister is one: the contract asks for nothing that only boltdb
// has.
func TestExampleDriver(t *testing.T) {
	storagetest.TestCache(t, func(t *testing.T) storage.Cache {
		t.Helper()

		opened, err := openMapCache(storage.CacheOptions{})
		if err != nil {
			t.Fatal(err)
		}

		return opened
	})
}

// The drivers satisfy the interface by their methods alone, so that storage can
// import them. This keeps the arrow pointing one way.
func TestCacheImportsNothingOfStorage(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("cache", "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files of package cache: %v", err)
	}

	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}

		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}

		for _, spec := range file.Imports {
			if strings.HasPrefix(spec.Path.Value, `"zotregistry.io/zot/`) {
				t.Errorf("%s imports %s", name, spec.Path.Value)
			}
		}
	}
}
